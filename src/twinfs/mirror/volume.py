"""One volume: its two legs, open and checked, and the work that goes on behind the callers."""

from __future__ import annotations

import contextlib
import errno
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from twinfs.errors import LegError, StateError, TwinfsError
from twinfs.journal.log import IntentLog, LogFile
from twinfs.journal.replay import recover
from twinfs.mirror import recovery
from twinfs.mirror.attributes import Attributes
from twinfs.mirror.content import Content
from twinfs.mirror.core import Core
from twinfs.mirror.drain import Drainer
from twinfs.mirror.exclude import Excludes
from twinfs.mirror.label import Leg, check_partners
from twinfs.mirror.names import Names
from twinfs.mirror.progress import OnProgress
from twinfs.mirror.report import leg_status, offline_leg_status, pending_of
from twinfs.mirror.schedule import seconds_until
from twinfs.mirror.secondary import Secondary, clean_temporaries
from twinfs.model import LegState, LegStatus, Mode, Pending, Role, VolumeConfig, VolumeState, VolumeStatus

_SETTLE_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 10.0
_LARGE_LOG_BYTES: Final = 16 * 1024 * 1024


class Volume:
    """What a daemon, or a command on an unmounted volume, works with."""

    def __init__(self, config: VolumeConfig, primary: Leg, secondary: Secondary, core: Core) -> None:
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
        self._wake = trio.Event()
        self._notes: list[tuple[str, str]] = []
        core.on_secondary_error = self._on_secondary_error
        core.wake = lambda: self._wake.set()

    @staticmethod
    def open(config: VolumeConfig, state_dir: Path, *, degraded: bool = False) -> Volume:
        """Open both legs and the intent log.

        LegNotMountedError, WrongDiskError, SplitBrainError, StateError: nothing has been changed.
        `degraded` starts without a secondary that is not mounted: changes wait in the log for it.
        """
        _allow_many_descriptors()
        directory = state_dir / config.name
        excludes = _excludes_text(config)
        with contextlib.ExitStack() as undo:
            primary = Leg.open(Role.PRIMARY, config.primary, config.volume_id)
            undo.callback(primary.close)
            secondary = Secondary.open(config, is_needed=not (degraded or config.degraded_start))
            undo.callback(secondary.close)
            legs = [primary] if secondary.leg is None else [primary, secondary.leg]
            if secondary.leg is not None:
                check_partners(primary.label, secondary.leg.label)
            try:
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                left = LogFile(directory, config.volume_id)
                log = IntentLog(directory, config.volume_id, excludes)
                core = Core(primary.fd, secondary.fd, log, Excludes(config.exclude), config.mode)
                lost_power = any(leg.was_in_use_at_other_boot for leg in legs)
                if secondary.leg is not None and secondary.leg.label.events < primary.label.events:
                    # It failed while in use: what was only in its page cache may be gone.
                    lost_power = lost_power or secondary.leg.label.boot_id != ""
                notes = recovery.restore(
                    core,
                    left,
                    lost_power=lost_power,
                    excludes=excludes,
                    used_since_ns=int(primary.label.changed * 1e9),
                )
                if secondary.leg is not None:
                    clean_temporaries(secondary.fd)
                primary.write_label(is_in_use=True)
                if secondary.leg is not None:
                    # A full disk must not keep its volume from being mounted to make room.
                    with contextlib.suppress(OSError):
                        secondary.leg.write_label(is_in_use=True)
            except OSError as error:
                raise StateError(f"volume {config.name} cannot start: {error}") from error
            undo.pop_all()
        volume = Volume(config, primary, secondary, core)
        volume._notes = [("compare_everything", note) for note in notes]
        if secondary.leg is None:
            missing = f"the secondary is missing: {config.secondary}; changes wait in the intent log"
            volume._notes.append(("secondary_missing", missing))
            core.secondary_failed(OSError(errno.ENODEV, "not mounted", config.secondary))
        return volume

    # Work behind the callers

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Batches, settling, trying a failed leg again; until cancelled."""
        task_status.started()
        for kind, message in self._notes:
            self.on_event(kind, message)
        while True:
            with trio.move_on_after(self._pause_seconds()):
                await self._wake.wait()
            self._wake = trio.Event()
            await self._turn()

    def _pause_seconds(self) -> float:
        core = self.core
        if not core.is_secondary_up:
            return _RETRY_SECONDS
        if self._drainer.has_troubles:
            return _RETRY_SECONDS
        if core.compares:
            return 0
        if core.mode is Mode.SYNC:
            return _SETTLE_SECONDS
        return seconds_until(self._at) if self._at else self._interval_seconds

    async def _turn(self) -> None:
        core = self.core
        was_down = not core.is_secondary_up
        if was_down and not await self._look_for_secondary():
            return
        try:
            if core.mode is Mode.BATCHED or core.is_behind or was_down:
                await self._drainer.drain()
            else:
                await self._drainer.settle()
        except OSError as error:
            core.secondary_failed(error)
            return
        if was_down:
            self._secondary.caught_up(self._primary)
            self.on_event("secondary_back", "the secondary works again and has what it had missed")
        await self._shorten_log()

    async def _look_for_secondary(self) -> bool:
        """After a failure: whether the secondary can be used again."""
        core = self.core
        async with self._drainer.lock:
            if not core.is_secondary_up and await self._secondary.look_again(core, self._primary):
                core.is_secondary_up = True
        return core.is_secondary_up

    async def _shorten_log(self) -> None:
        """A log that never came to rest: write it anew, with what is pending."""
        core = self.core
        if core.log.size_bytes > _LARGE_LOG_BYTES:
            async with self._drainer.lock:
                core.log.start(recovery.records_of(core), core.log.last_number, core.durable_ns)

    def _on_secondary_error(self, error: OSError) -> None:
        self._secondary.parted(self._primary)
        message = f"the secondary failed: {error}; changes are kept in the intent log"
        self.on_event("secondary_failed", message)

    @property
    def drain_lock(self) -> trio.Lock:
        """Held by whoever copies to the secondary; hold it to be the only one."""
        return self._drainer.lock

    # Commands

    async def sync(self, on_progress: OnProgress | None = None) -> None:
        """Everything done until now is on both legs, durably, when this returns.

        LegError when the secondary fails; what it lacks stays in the log.
        """
        core = self.core
        if not core.is_secondary_up and not await self._look_for_secondary():
            raise LegError(
                f"secondary leg: {self.config.secondary} is {self._secondary.state}; "
                f"{self.pending().changes} changes wait for it."
            )
        number = core.log.last_number
        for _ in range(_SYNC_ROUNDS):
            try:
                await self._drainer.drain(on_progress)
                if core.is_done_up_to(number) and not core.compares:
                    await self._drainer.make_durable()
                    self._secondary.caught_up(self._primary)
                    return
            except OSError as error:
                raise LegError(f"secondary leg: {self.config.secondary}: {error}") from error
            if self._drainer.has_troubles:
                break
        raise LegError(
            f"secondary leg: {self.pending().changes} changes could not be made.\n"
            f"  Why: twinfs events {self.config.name}"
        )

    async def set_mode(self, mode: Mode, interval_seconds: float | None, at: str | None) -> None:
        """From now on. Going to sync drains, so that the promise holds when this returns."""
        if interval_seconds is not None:
            self._interval_seconds, self._at = interval_seconds, None
        if at is not None:
            self._at = at
        is_new = mode is not self.core.mode
        self.core.mode = mode
        self._wake.set()
        if mode is Mode.SYNC and is_new:
            await self.sync()

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
        for leg in (self._primary, self._secondary.leg):
            # A leg that cannot be written keeps its "in use": that only costs a comparison.
            if leg is not None:
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
            state, secondary = VolumeState.DEGRADED, self._secondary.state
        elif core.compares:
            state, secondary = VolumeState.RESYNCING, LegState.STALE
        else:
            state = VolumeState.CLEAN if is_settled else VolumeState.DIRTY
            is_following = core.mode is Mode.SYNC and not core.is_behind
            secondary = LegState.IN_SYNC if is_settled or is_following else LegState.STALE
        return VolumeStatus(
            volume=self.config.name,
            pid=pid,
            state=state,
            mode=core.mode,
            mountpoint=mountpoint,
            legs=(
                leg_status(self._primary, LegState.IN_SYNC),
                self._secondary_status(secondary),
            ),
            pending=self.pending(),
            last_scrub=None,
            action=_action(state, self.config),
        )

    def _secondary_status(self, state: LegState) -> LegStatus:
        if self._secondary.leg is None or not self.core.is_secondary_up:
            return self._secondary.missing_status()
        return leg_status(self._secondary.leg, state)

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
        state = VolumeState.CLEAN if is_clean else VolumeState.DIRTY
        action = None if is_clean else f"twinfs sync {config.name}, or twinfs mount {config.name}"
        for leg in legs:
            if leg.state not in (LegState.IN_SYNC, LegState.STALE):
                state = VolumeState.FAILED if leg.role is Role.PRIMARY else VolumeState.DEGRADED
                action = f"the {leg.role} is {leg.state}: mount the right disk at {leg.path}"
                break
        return VolumeStatus(
            volume=config.name,
            pid=None,
            state=state,
            mode=config.mode,
            mountpoint=None,
            legs=legs,
            pending=Pending(changes, 0, age if changes else 0.0),
            last_scrub=None,
            action=action,
        )


_SYNC_ROUNDS: Final = 10


def _action(state: VolumeState, config: VolumeConfig) -> str | None:
    if state is VolumeState.DEGRADED:
        return f"check the disk at {config.secondary}; it is tried again every {_RETRY_SECONDS:.0f} s"
    return None


def _excludes_text(config: VolumeConfig) -> str:
    return "\n".join(config.exclude) + ("\n#delete" if config.delete_excluded else "")


def _allow_many_descriptors() -> None:
    """Directories in use are kept open; the default of 1,024 descriptors is for programs without them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
