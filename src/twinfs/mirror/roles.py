"""Changing who is the primary, while the volume is in use.

Order: what the new primary never got is listed, its label says that it is the primary, the intent log is
begun anew with "compare everything", and only then does the volume turn to it. A kill in between leaves
labels and log of which the next start can tell what to do: an old log does not carry the new session.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from twinfs.errors import LegError
from twinfs.journal.log import LogError
from twinfs.journal.records import Compare
from twinfs.mirror import unreached
from twinfs.mirror.brake import HeldError
from twinfs.mirror.content import Content
from twinfs.mirror.core import Core
from twinfs.mirror.drain import Drainer
from twinfs.mirror.failures import PRIMARY_FAILURES, is_leg_failure
from twinfs.mirror.gate import Gate
from twinfs.mirror.health import Health
from twinfs.mirror.label import LabelChange, Leg
from twinfs.mirror.nodes import Node
from twinfs.mirror.pair import Pair
from twinfs.mirror.secondary import Secondary
from twinfs.model import LegState, Mode, Role
from twinfs.words import count

Name = tuple[int, bytes]
"""(node number of the directory, name)"""


class Roles:
    """`on_event` is told (kind, message); `on_moved` which nodes and names the kernel may know wrongly;
    `on_another_primary` is called when nothing more is to be read from the old one."""

    def __init__(
        self,
        directory: Path,
        core: Core,
        pair: Pair,
        drainer: Drainer,
        content: Content,
    ) -> None:
        self._directory = directory
        self._core = core
        self._pair = pair
        self._drainer = drainer
        self._content = content
        self._lock = trio.Lock()
        self._health = Health(pair)
        self.gate = Gate()
        self._on_event: Callable[[str, str], None] = lambda kind, message: None
        self.on_moved: Callable[[Sequence[int], Sequence[Name]], None] = lambda idents, names: None
        self.on_another_primary: Callable[[], None] = lambda: None

    @property
    def era(self) -> int:
        return self._core.nodes.era

    @property
    def on_event(self) -> Callable[[str, str], None]:
        return self._on_event

    @on_event.setter
    def on_event(self, listener: Callable[[str, str], None]) -> None:
        self._on_event = self._health.on_event = listener

    async def primary_failed(self, era: int, error: OSError) -> bool:
        """After an error of the primary in a call that began in `era`: whether to make it again.

        A disk that can still write its label is not dead; what it said is then the caller's answer.
        """
        if error.errno not in PRIMARY_FAILURES or isinstance(error, LogError):
            return False
        async with self._lock:
            if era != self.era:
                return True
            can_go_on = self._can_go_on_without()
            if await self._health.answers(error, is_needed=not can_go_on):
                return False
            self.primary_refused(error)
            if can_go_on:
                await self._try_to_fail_over()
            return era != self.era

    def primary_refused(self, error: OSError) -> None:
        """The primary is dead, whether or not the secondary can take its place."""
        consequence = "" if self._can_go_on_without() else "; nothing can take its place"
        self._health.failed(error, consequence)

    async def look_at_primary(self) -> None:
        """After a failure that nothing could help: is it over, or has the secondary come back?"""
        async with self._lock:
            if not self._pair.primary_problem:
                return
            if await self._health.ask():
                self._health.works_again()
                if not self._core.is_secondary_up:
                    # What its label could not take when the secondary went.
                    self._pair.secondary.parted(self._pair.primary)
            elif self._can_go_on_without():
                await self._try_to_fail_over()

    async def _try_to_fail_over(self) -> None:
        try:
            await self._fail_over()
        except OSError as refusal:
            if is_leg_failure(refusal):
                self._core.secondary_failed(refusal)
            self.on_event("error", f"the secondary cannot become the primary: {refusal}")

    def _can_go_on_without(self) -> bool:
        core = self._core
        return core.is_secondary_up and not any(not record.path for record in core.compares.values())

    async def _fail_over(self) -> None:
        core, pair = self._core, self._pair
        async with self._drainer.lock, self.gate.closed() as all_are_out:
            leg = pair.secondary.leg
            if leg is None or not core.is_secondary_up:
                return
            if core.mode is Mode.SYNC:
                # What is on its way was not answered yet; it needs nothing more of the primary.
                # What the brake holds is not done here any more: it is listed below.
                with contextlib.suppress(HeldError):
                    await core.lane.run(partial(core.catch_up, core.names_number))
            lost, lost_nodes = unreached.lost_with_primary(core)
            if lost:
                unreached.save(self._directory, lost)
            old_place = pair.primary.place
            everything = Compare(b"", core.distrusted_since_ns, core.distrusted_since_ns, is_keeping=True)
            async with self._all_or_nothing(leg):
                await self._make_primary(leg, is_alone=True)
                self._turn_to(leg, everything, close_old=all_are_out, lost=lost_nodes, paths=lost)
            pair.secondary.state = LegState.FAULTY
            message = f"{leg.path} is the primary now, alone; the {old_place} leg is out"
            if lost:
                message += (
                    f"; {count(len(lost), 'path')} had not reached it: twinfs status {self._pair.config.name}"
                )
            self.on_event("promoted", message)
        core.wake()

    async def _make_primary(self, leg: Leg, *, is_alone: bool) -> None:
        """Durably on its label, with a new session that only the log to come knows."""
        events = max(leg.label.events, self._pair.primary.label.events) + 1
        self._core.log.session = uuid.uuid4().hex
        change = LabelChange(
            role=Role.PRIMARY,
            events=events,
            is_alone=is_alone,
            session=self._core.log.session,
            has_changed_roles=True,
            was=leg.role,
            together_until=time.time(),
            took_over=self._pair.primary.label.session,
        )
        await self._core.attachment.call(lambda: leg.write_label(is_in_use=True, change=change))

    @asynccontextmanager
    async def _all_or_nothing(self, *legs: Leg) -> AsyncIterator[None]:
        """Refused half way, the labels of `legs` and the log say again what they said: the next start would
        else take for the primary what the work does not go on with."""
        core, primary = self._core, self._pair.primary
        session, is_renumbered = core.log.session, core.log.is_renumbered
        before = [(leg, _standing(leg)) for leg in legs]
        try:
            yield
        except BaseException:
            if self._pair.primary is primary:
                core.log.session, core.log.is_renumbered = session, is_renumbered
                with trio.CancelScope(shield=True):
                    for leg, change in before:
                        await self._take_back(leg, change)
            raise

    async def _take_back(self, leg: Leg, change: LabelChange) -> None:
        core = self._core
        write = partial(leg.write_label, is_in_use=True, change=change)
        if leg is self._pair.primary:
            with contextlib.suppress(OSError):
                await trio.to_thread.run_sync(write)
        elif core.is_secondary_up:
            try:
                await core.attachment.call(write)
            except OSError as error:
                # Its label says what is not so: then the primary's has to say that they have parted.
                core.secondary_failed(error)

    async def promote(self) -> None:
        """On purpose: the secondary, which has everything, becomes the primary, and the other follows it.

        LegError when it has not, or calls are waiting for a disk; nothing has changed then.
        """
        core, pair = self._core, self._pair
        async with self._lock, self.gate.closed() as all_are_out:
            if not all_are_out:
                raise LegError(f"volume {self._pair.config.name}: a disk does not answer its users just now")
            await self._settle()
            async with self._drainer.lock:
                leg, old = pair.secondary.leg, pair.primary
                if leg is None or not core.is_secondary_up:
                    raise LegError(f"volume {self._pair.config.name}: the secondary failed meanwhile")
                try:
                    async with self._all_or_nothing(old, leg):
                        await self._change_places(leg, old)
                except OSError as error:
                    raise LegError(f"the roles could not be changed: {error}") from error
        self.on_event("promoted", f"{leg.path} is the primary now, {old.path} the secondary")

    async def _change_places(self, leg: Leg, old: Leg) -> None:
        core, pair = self._core, self._pair
        await self._make_primary(leg, is_alone=True)
        change = LabelChange(
            role=Role.SECONDARY, events=leg.label.events, is_alone=False, session=leg.label.session
        )
        await trio.to_thread.run_sync(partial(old.write_label, is_in_use=True, change=change))
        alone = LabelChange(is_alone=False)
        await core.attachment.call(partial(leg.write_label, is_in_use=True, change=alone))
        followed_fd = fcntl.fcntl(old.fd, fcntl.F_DUPFD_CLOEXEC, 3)
        try:
            self._turn_to(leg, None, close_old=True, lost=(), paths=())
        except BaseException:
            os.close(followed_fd)
            raise
        core.attach(followed_fd, old.device)
        pair.secondary = Secondary(pair.config, old.place, Leg(old.place, old.path, followed_fd, old.label))

    async def _settle(self) -> None:
        """Everything on both legs, durably, with nobody who changes anything."""
        core = self._core
        try:
            await self._drainer.drain()
            await self._drainer.make_durable()
        except OSError as error:
            raise LegError(f"secondary leg: {self._pair.secondary.path}: {error}") from error
        if core.is_behind or core.stale:
            raise LegError(
                f"the secondary lacks {count(len(core.pending) + len(core.stale), 'change')}.\n"
                f"  Why: twinfs events {self._pair.config.name}"
            )

    def _turn_to(
        self,
        leg: Leg,
        everything: Compare | None,
        *,
        close_old: bool,
        lost: Sequence[Node],
        paths: Sequence[bytes],
    ) -> None:
        """No await in here: every call is before or after it. `paths` and `lost`: of `lost_with_primary`."""
        core, pair = self._core, self._pair
        root_fd = fcntl.fcntl(leg.fd, fcntl.F_DUPFD_CLOEXEC, 3)
        # What is another object now comes first: until the kernel is told, it shows what is gone.
        nodes = dict.fromkeys((*lost, *core.nodes))
        known = [(node, [(p.ident, n) for p, n in core.nodes.names(node)]) for node in nodes]
        core.log.is_renumbered = True
        number = core.log.next_number()
        records = [] if everything is None else [(number, everything)]
        try:
            core.log.start(records, number, core.durable_ns)
        except BaseException:
            os.close(root_fd)
            raise
        core.stand_on(root_fd, dict(records))
        old_place = pair.primary.place
        fds = [
            pair.primary.fd,
            *core.nodes.move_to(root_fd, lost),
            *self._content.open_anew(is_old_alive=everything is None),
        ]
        pair.primary = Leg(leg.place, leg.path, root_fd, leg.label)
        pair.primary_problem = ""
        pair.secondary = Secondary(pair.config, old_place, None)
        self._health = self._health.of_another_disk()
        self.on_another_primary()
        # What is excluded is only on the old primary: never to be removed there.
        self._drainer.is_deleting_excluded = False
        core.keeps_excluded = True
        if close_old:
            trio.lowlevel.spawn_system_task(trio.to_thread.run_sync, _close_all, fds)
        if paths:
            names = dict.fromkeys(name for _, all_of_it in known for name in all_of_it)
            # What was looked for in vain may be there again.
            names |= dict.fromkeys(unreached.places_of(core.nodes, paths))
            # A directory that stays what it is keeps its name: without it who works there would be nowhere.
            kept = {name for node, all_of_it in known if _is_kept(node) for name in all_of_it}
            self.on_moved([node.ident for node, _ in known], [name for name in names if name not in kept])


def _is_kept(node: Node) -> bool:
    return node.is_directory and node.is_named


def _standing(leg: Leg) -> LabelChange:
    """What its label says of how the legs stand, to be said again."""
    known = leg.label
    return LabelChange(
        role=leg.role,
        events=known.events,
        is_alone=known.is_alone,
        session=known.session,
        took_over=known.took_over,
    )


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
