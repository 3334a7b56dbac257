"""One volume: its two legs, open and checked, and what can be asked of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import trio

from twinfs.errors import DeletionsHeldError, LegError, StateError
from twinfs.journal.log import LogError
from twinfs.mirror import offline, rescue, unreached
from twinfs.mirror.attributes import Attributes
from twinfs.mirror.brake import HeldError
from twinfs.mirror.content import Content
from twinfs.mirror.drain import Drainer
from twinfs.mirror.names import Names
from twinfs.mirror.opening import Parts, open_parts
from twinfs.mirror.progress import OnProgress
from twinfs.mirror.report import leg_status, pending_of, status_of_legs
from twinfs.mirror.roles import Roles
from twinfs.mirror.upkeep import Upkeep
from twinfs.mirror.versions.window import window_of
from twinfs.model import LegState, Mode, Order, Pending, Role, Survey, VolumeConfig, VolumeStatus
from twinfs.words import count, some_of

_SYNC_ROUNDS: Final = 10


class Volume:
    """What a daemon, or a command on an unmounted volume, works with."""

    def __init__(self, config: VolumeConfig, parts: Parts) -> None:
        core, pair = parts.core, parts.pair
        self.core = core
        core.sleeps = config.secondary_sleeps
        core.second_space = pair.secondary.space
        core.keep_versions(window_of(config))
        self.pair = pair
        self.content = Content(core, config.read_policy)
        self.attributes = Attributes(core, self.content)
        self.names = Names(core)
        self._on_event: Callable[[str, str], None] = lambda kind, message: None
        self._directory = parts.directory
        self._notes = parts.notes
        is_deleting = config.delete_excluded and not core.keeps_excluded
        self._drainer = Drainer(core, is_deleting_excluded=is_deleting)
        self.upkeep = Upkeep(core, pair, self._drainer, self.content.mender)
        self.roles = Roles(parts.directory, core, pair, self._drainer, self.content)
        self.rebuilt = self._drainer.rebuilt
        """What the last comparisons found, for whoever asked for one."""
        self.is_replacing = False
        self.unreached = unreached.load(parts.directory)
        self.expiry = self.upkeep.expiry
        parts_that_tell = (
            *(self._drainer, self.upkeep, self.roles, self.expiry),
            *(self.content.mender, self.content.reads),
        )
        for part in parts_that_tell:
            part.on_event = self.tell
        self.upkeep.on_caught_up = self._forget_unreached
        self.upkeep.on_primary_refused = self.roles.primary_refused
        self.upkeep.look_at_primary = self.roles.look_at_primary
        if pair.secondary.leg is None:
            core.secondary_missing()
            pair.secondary.parted(pair.primary)

    @staticmethod
    def open(
        config: VolumeConfig, state_dir: Path, *, degraded: bool = False, is_forced: bool = False
    ) -> Volume:
        """Open both legs and the intent log.

        LegNotMountedError, WrongDiskError, SplitBrainError, StateError: nothing has been changed.
        `degraded` starts without a leg that is not mounted: changes wait in the log for it, and without
        the primary the secondary goes on as the primary (`is_forced`: even if it never had everything).
        """
        return Volume(config, open_parts(config, state_dir, is_degraded=degraded, is_forced=is_forced))

    @property
    def config(self) -> VolumeConfig:
        return self.pair.config

    @property
    def on_event(self) -> Callable[[str, str], None]:
        """Told (kind, message) of what happens."""
        return self._on_event

    @on_event.setter
    def on_event(self, listener: Callable[[str, str], None]) -> None:
        self._on_event = listener

    def tell(self, kind: str, message: str) -> None:
        if kind == "promoted":
            self.unreached = unreached.load(self._directory)
        self._on_event(kind, message)

    def _forget_unreached(self) -> None:
        unreached.forget(self._directory)
        self.unreached = unreached.Unreached()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Batches, settling, watching the secondary, trying a failed one again; until cancelled."""
        task_status.started()
        self.tell_notes()
        await self.upkeep.run()

    def tell_notes(self) -> None:
        """What was found when the volume was opened, to whoever listens now."""
        notes, self._notes = self._notes, []
        for kind, message in notes:
            self.tell(kind, message)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found when the volume was opened, as long as nobody was told."""
        return tuple(message for _, message in self._notes)

    @property
    def drain_lock(self) -> trio.Lock:
        """Held by whoever copies to the secondary; hold it to be the only one."""
        return self._drainer.lock

    # Commands

    async def sync(self, on_progress: OnProgress | None = None, *, allow_deletes: bool = False) -> None:
        """Everything done until now is on both legs, durably, when this returns.

        LegError when the secondary fails; what it lacks stays in the log. DeletionsHeldError when too much
        would be deleted there, unless `allow_deletes`: that is for what is pending now, in this run only.
        """
        if not allow_deletes:
            await self._sync(on_progress)
            return
        brake = self.core.brake
        brake.allow(self.core.log.last_number)
        try:
            await self._sync(on_progress)
        finally:
            brake.disallow()

    def _way_back(self) -> str:
        if self.pair.secondary.is_detached:
            return f"when its disk is mounted again: twinfs attach {self.pair.config.name}"
        return "look after its disk: power, cables, whether it is mounted there"

    async def _sync(self, on_progress: OnProgress | None) -> None:
        core, secondary = self.core, self.pair.secondary
        if not core.is_secondary_up and not await self.upkeep.look_for_secondary():
            if secondary.problem:
                raise LegError(secondary.problem)
            raise LegError(
                f"secondary leg: {secondary.path} is {secondary.state}; "
                f"{count(self.pending().changes, 'change')} pending.\n"
                f"  {self._way_back()}"
            )
        number = core.log.last_number
        for _ in range(_SYNC_ROUNDS):
            try:
                await self._drainer.drain(on_progress)
                if core.is_done_up_to(number) and not core.compares:
                    await self._drainer.make_durable()
                    await self.upkeep.caught_up()
                    if not core.compares:
                        return
            except HeldError as error:
                raise DeletionsHeldError(f"volume {self.config.name}: {error.strerror}") from error
            except LogError as error:
                raise StateError(f"{error.filename}: the intent log: {error.strerror}") from error
            except OSError as error:
                raise LegError(f"secondary leg: {secondary.path}: {error}") from error
            if self._drainer.has_troubles:
                break
        left, name = sorted(unreached.paths_of(core)), self.config.name
        raise LegError(
            f"secondary leg: {count(len(left), 'path')} could not be brought up to date: {some_of(left)}.\n"
            f"  They stay in the intent log; why: twinfs events {name}; go on with: twinfs sync {name}"
        )

    async def set_mode(self, mode: Mode, interval_seconds: float | None, at: str | None) -> None:
        """From now on. Going to sync drains, so that the promise holds when this returns."""
        if interval_seconds is not None:
            self.upkeep.interval_seconds, self.upkeep.at = interval_seconds, None
        if at is not None:
            self.upkeep.at = at
        is_new = mode is not self.core.mode
        self.core.mode = mode
        self.upkeep.wake()
        if mode is Mode.SYNC and is_new:
            await self.sync()

    async def recover(
        self, order: Order, is_dry_run: bool, on_progress: OnProgress, save_place: rescue.SavePlace
    ) -> str | Survey:
        """One of the ways back, see mirror/rescue.py: what to tell the user; or, with `is_dry_run`, what it
        would do."""
        if is_dry_run:
            return await rescue.look(self, order)
        return await rescue.perform(self, order, on_progress, save_place)

    async def close(self, on_progress: OnProgress | None = None, *, is_draining: bool = True) -> None:
        """Drain, make durable, say so on the labels, let go of both legs.

        When the secondary cannot follow, the rest stays in the log and the error is raised at the end.
        """
        core, pair = self.core, self.pair
        failure = None
        if is_draining and not pair.secondary.is_detached:
            failure = await self.upkeep.watched(partial(self.sync, on_progress))
        is_clean = failure is None and core.is_settled()
        try:
            core.log.close(is_clean=is_clean)
        except LogError as error:
            # It says what is pending, as after a kill.
            is_clean, failure = False, failure or StateError(f"{error.filename}: {error.strerror}")
            core.log.close(is_clean=False)
        # A leg that cannot be written keeps its "in use": that only costs a comparison.
        with contextlib.suppress(OSError):
            pair.primary.write_label(is_in_use=not is_clean)
        await self.upkeep.watched(partial(pair.secondary.end, core, is_in_use=not is_clean))
        core.nodes.close()
        self.content.close()
        pair.primary.close()
        if failure is not None:
            raise failure

    # Status

    def open_legs(self) -> list[tuple[Role, int]]:
        """The legs that are in use, and descriptors of their roots."""
        legs = [(Role.PRIMARY, self.pair.primary.fd)]
        if self.core.is_secondary_up:
            legs.append((Role.SECONDARY, self.pair.secondary.fd))
        return legs

    def pending(self) -> Pending:
        return pending_of(self.core)

    async def refresh(self) -> None:
        """Ask the secondary for its free space, as long as it answers soon: `status` does not wait."""
        await self.pair.secondary.look_at_space(self.core)

    def status(self, *, pid: int | None, mountpoint: str | None) -> VolumeStatus:
        trouble, is_failed = self._drainer.trouble, bool(self.pair.primary_problem)
        primary = LegState.FAULTY if is_failed else LegState.IN_SYNC
        state, secondary, action = status_of_legs(self.pair.config, self.core, self.pair, trouble)
        return VolumeStatus(
            volume=self.config.name,
            pid=pid,
            state=state,
            mode=self.core.mode,
            mountpoint=mountpoint,
            legs=(leg_status(self.pair.primary, primary), self.pair.secondary.status(secondary)),
            pending=self.pending(),
            last_scrub=None,
            action=action,
            unreached=self.unreached.paths,
            versions=self.expiry.held,
            quarantine=self.upkeep.quarantine.held,
        )

    @staticmethod
    def offline_status(config: VolumeConfig, state_dir: Path) -> VolumeStatus:
        """Of a volume that is not mounted; touches nothing."""
        return offline.status(config, state_dir)
