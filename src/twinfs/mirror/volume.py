"""One volume: its two legs, open and checked, and the work that goes on behind the callers."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from twinfs.errors import LegError, StateError, TwinfsError
from twinfs.fsio.tree import remove_tree
from twinfs.journal.log import IntentLog, LogFile
from twinfs.journal.replay import recover
from twinfs.mirror import recovery
from twinfs.mirror.attributes import Attributes
from twinfs.mirror.content import Content
from twinfs.mirror.copier import TEMPORARY
from twinfs.mirror.core import Core
from twinfs.mirror.drain import Drainer
from twinfs.mirror.exclude import Excludes
from twinfs.mirror.label import Leg, check_partners
from twinfs.mirror.names import Names
from twinfs.mirror.progress import OnProgress
from twinfs.mirror.report import leg_status, offline_leg_status, pending_of
from twinfs.mirror.schedule import seconds_until
from twinfs.model import LegState, Mode, Pending, Role, VolumeConfig, VolumeState, VolumeStatus

_SETTLE_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 10.0
_LARGE_LOG_BYTES: Final = 16 * 1024 * 1024


class Volume:
    """What a daemon, or a command on an unmounted volume, works with."""

    def __init__(self, config: VolumeConfig, primary: Leg, secondary: Leg, core: Core) -> None:
        self.config = config
        self.core = core
        self.content = Content(core)
        self.attributes = Attributes(core, self.content)
        self.names = Names(core)
        self.on_event: Callable[[str, str], None] = lambda kind, message: None
        self._primary = primary
        self._secondary = secondary
        self._interval_seconds = config.interval_seconds
        self._at = config.at
        self._drainer = Drainer(core, is_deleting_excluded=config.delete_excluded)
        self._drainer.on_event = lambda kind, message: self.on_event(kind, message)
        self._is_draining = False
        self._wake = trio.Event()
        self._notes: list[str] = []
        core.on_secondary_error = self._on_secondary_error

    @staticmethod
    def open(config: VolumeConfig, state_dir: Path, *, degraded: bool = False) -> Volume:
        """Open both legs and the intent log.

        LegNotMountedError, WrongDiskError, SplitBrainError, StateError: nothing has been changed.
        `degraded` is accepted for a primary without its secondary once recovery commands exist.
        """
        _allow_many_descriptors()
        directory = state_dir / config.name
        excludes = _excludes_text(config)
        with contextlib.ExitStack() as undo:
            primary = Leg.open(Role.PRIMARY, config.primary, config.volume_id)
            undo.callback(primary.close)
            secondary = Leg.open(Role.SECONDARY, config.secondary, config.volume_id)
            undo.callback(secondary.close)
            check_partners(primary.label, secondary.label)
            try:
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                left = LogFile(directory, config.volume_id)
                log = IntentLog(directory, config.volume_id, excludes)
                core = Core(primary.fd, secondary.fd, log, Excludes(config.exclude), config.mode)
                lost_power = primary.was_in_use_at_other_boot or secondary.was_in_use_at_other_boot
                notes = recovery.restore(core, left, lost_power=lost_power, excludes=excludes)
                _clean_temporaries(secondary.fd)
                for leg in (primary, secondary):
                    leg.write_label(is_in_use=True)
            except OSError as error:
                raise StateError(f"volume {config.name} cannot start: {error}") from error
            undo.pop_all()
        volume = Volume(config, primary, secondary, core)
        volume._notes = notes
        return volume

    # Work behind the callers

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Batches, settling, trying a failed leg again; until cancelled."""
        task_status.started()
        for note in self._notes:
            self.on_event("compare_everything", note)
        while True:
            with trio.move_on_after(self._pause_seconds()):
                await self._wake.wait()
            self._wake = trio.Event()
            await self._turn()

    def _pause_seconds(self) -> float:
        core = self.core
        if not core.is_secondary_up:
            return _RETRY_SECONDS
        if core.compares and not self._is_draining:
            return 0
        if core.mode is Mode.SYNC:
            return _SETTLE_SECONDS
        return seconds_until(self._at) if self._at else self._interval_seconds

    async def _turn(self) -> None:
        core = self.core
        was_down = not core.is_secondary_up
        core.is_secondary_up = True
        try:
            if core.mode is Mode.BATCHED or core.is_behind or was_down:
                await self._drain(None)
            else:
                await self._drainer.settle()
        except OSError as error:
            core.secondary_failed(error)
            return
        if was_down:
            self.on_event("secondary_back", "the secondary works again and has what it had missed")
        if core.log.size_bytes > _LARGE_LOG_BYTES:
            core.log.start(recovery.records_of(core), core.log.last_number, core.durable_ns)

    async def _drain(self, on_progress: OnProgress | None) -> None:
        self._is_draining = True
        try:
            await self._drainer.drain(on_progress)
        finally:
            self._is_draining = False

    def _on_secondary_error(self, error: OSError) -> None:
        message = f"the secondary failed: {error}; changes are kept in the intent log"
        self.on_event("secondary_failed", message)

    # Commands

    async def sync(self, on_progress: OnProgress | None = None) -> None:
        """Everything done until now is on both legs, durably, when this returns.

        LegError when the secondary fails; what it lacks stays in the log.
        """
        core = self.core
        for _ in range(_SYNC_ROUNDS):
            core.is_secondary_up = True
            try:
                await self._drain(on_progress)
            except OSError as error:
                raise LegError(f"secondary leg: {self.config.secondary}: {error}") from error
            if core.is_settled():
                return
        if (pending := self.pending()).changes:
            raise LegError(
                f"secondary leg: {pending.changes} changes could not be made.\n"
                f"  Why: twinfs events {self.config.name}"
            )

    async def set_mode(self, mode: Mode, interval_seconds: float | None, at: str | None) -> None:
        """From now on. Going to sync drains first, so that the promise holds when this returns."""
        if interval_seconds is not None:
            self._interval_seconds, self._at = interval_seconds, None
        if at is not None:
            self._at = at
        if mode is Mode.SYNC and self.core.mode is not Mode.SYNC:
            await self.sync()
        self.core.mode = mode
        self._wake.set()

    async def close(self, on_progress: OnProgress | None = None) -> None:
        """Drain, make durable, say so on the labels, let go of both legs.

        When the secondary cannot follow, the rest stays in the log and the error is raised at the end.
        """
        failure: TwinfsError | None = None
        try:
            await self.sync(on_progress)
        except TwinfsError as error:
            failure = error
        core = self.core
        is_clean = failure is None and core.is_settled()
        core.log.close(is_clean=is_clean)
        for leg in (self._primary, self._secondary):
            # A leg that cannot be written keeps its "in use": that only costs a comparison.
            with contextlib.suppress(OSError):
                leg.write_label(is_in_use=not is_clean)
        core.nodes.close()
        core.lane.close()
        self.content.close()
        core.applier.close()
        self._primary.close()
        self._secondary.close()
        if failure is not None:
            raise failure

    # Status

    def pending(self) -> Pending:
        return pending_of(self.core)

    def status(self, *, pid: int | None, mountpoint: str | None) -> VolumeStatus:
        core = self.core
        is_settled = core.is_settled() and core.is_durable
        if not core.is_secondary_up:
            state, secondary = VolumeState.DEGRADED, LegState.FAULTY
        elif core.compares:
            state, secondary = VolumeState.RESYNCING, LegState.STALE
        else:
            state = VolumeState.CLEAN if is_settled else VolumeState.DIRTY
            secondary = LegState.IN_SYNC if is_settled or core.mode is Mode.SYNC else LegState.STALE
        return VolumeStatus(
            volume=self.config.name,
            pid=pid,
            state=state,
            mode=core.mode,
            mountpoint=mountpoint,
            legs=(
                leg_status(self._primary, LegState.IN_SYNC),
                leg_status(self._secondary, secondary),
            ),
            pending=self.pending(),
            last_scrub=None,
            action=_action(state, self.config),
        )

    @staticmethod
    def offline_status(config: VolumeConfig, state_dir: Path) -> VolumeStatus:
        """Of a volume that is not mounted, from its intent log and labels; touches nothing."""
        left = LogFile(state_dir / config.name, config.volume_id)
        recovered = recover(left)
        changes = len(recovered.changes) + len(recovered.stale) + len(recovered.compares)
        is_clean = recovered.is_closed and not changes
        age = 0.0 if is_clean else max(0.0, time.time() - left.modified)
        legs = tuple(
            offline_leg_status(role, path, config.volume_id, LegState.IN_SYNC if is_clean else stale)
            for role, path, stale in (
                (Role.PRIMARY, config.primary, LegState.IN_SYNC),
                (Role.SECONDARY, config.secondary, LegState.STALE),
            )
        )
        return VolumeStatus(
            volume=config.name,
            pid=None,
            state=VolumeState.CLEAN if is_clean else VolumeState.DIRTY,
            mode=config.mode,
            mountpoint=None,
            legs=legs,
            pending=Pending(changes, 0, age if changes else 0.0),
            last_scrub=None,
            action=None if is_clean else f"twinfs sync {config.name}, or twinfs mount {config.name}",
        )


_SYNC_ROUNDS: Final = 10


def _action(state: VolumeState, config: VolumeConfig) -> str | None:
    if state is VolumeState.DEGRADED:
        return f"check the disk at {config.secondary}; it is tried again every {_RETRY_SECONDS:.0f} s"
    return None


def _excludes_text(config: VolumeConfig) -> str:
    return "\n".join(config.exclude) + ("\n#delete" if config.delete_excluded else "")


def _clean_temporaries(root_fd: int) -> None:
    """Copies that a kill cut short."""
    fd = os.open(TEMPORARY, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root_fd)
    try:
        for name in os.listdir(fd):
            remove_tree(fd, os.fsencode(name))
    finally:
        os.close(fd)


def _allow_many_descriptors() -> None:
    """Directories in use are kept open; the default of 1,024 descriptors is for programs without them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
