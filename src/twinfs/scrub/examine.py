"""Looking again at what seems to differ, while holding still what the volume itself does.

The secondary is allowed to be behind: changes of names that it has not seen, objects that are marked, and
whatever a comparison is about to look at are no mismatches. Everything else is caught up with in the
secondary's lane, and then must be equal.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Final

import trio

from twinfs.fsio.syscalls import open_beneath
from twinfs.journal.records import NameChange, Rename, touched_by
from twinfs.mirror.core import Core
from twinfs.mirror.failures import is_leg_failure
from twinfs.mirror.nodes import Node
from twinfs.model import BadLeg, MismatchKind, ReadMethod
from twinfs.scrub.hashing import Hashed, hash_file
from twinfs.scrub.judge import Known, Side, Verdict, judge, judge_link
from twinfs.scrub.todo import Suspicion
from twinfs.scrub.views import Look, is_same, look

Looks = tuple[Look | None, Look | None]


class Answer(Enum):
    PENDING = auto()
    """The volume is at work on it: ask again later."""
    EQUAL = auto()


@dataclass(frozen=True, slots=True)
class Examined:
    """A mismatch, and what both legs had at that moment."""

    suspicion: Suspicion
    verdict: Verdict
    looks: Looks
    sides: tuple[Side | None, Side | None]


class Examiner:
    """Looks at one path at a time. `known` says what is known of a path and the object that the primary has
    there (0 for none), None where nothing is; `was_linked` whether two names were one file."""

    def __init__(
        self,
        core: Core,
        methods: tuple[ReadMethod, ReadMethod],
        known: Callable[[bytes, int], Known | None],
        was_linked: Callable[[bytes, bytes], bool | None],
    ) -> None:
        self._core = core
        self._methods = methods
        self._known = known
        self._was_linked = was_linked

    @property
    def roots(self) -> tuple[int, int]:
        return self._core.primary_fd, self._core.applier.root_fd

    async def examine(self, suspicion: Suspicion) -> Examined | Answer:
        """LegError's OSErrors of the secondary are raised when the whole leg fails."""
        path = suspicion.path
        try:
            looks = await self.looks(path)
        except OSError as error:
            return self._refused(suspicion, error)
        if looks is None or self.is_moving(path, looks):
            return Answer.PENDING
        if suspicion.link_to is not None:
            linked = await self._examine_link(suspicion, suspicion.link_to, looks)
            if linked is not Answer.EQUAL:
                return linked
        sides = await self._sides(path, looks)
        if sides is None:
            return Answer.PENDING
        ident = 0 if looks[0] is None else self._core.nodes.ident_of(looks[0].status)
        verdict = judge(*sides, self._known(path, ident))
        return Answer.EQUAL if verdict is None else Examined(suspicion, verdict, looks, sides)

    @staticmethod
    def _refused(suspicion: Suspicion, error: OSError) -> Examined | Answer:
        """A leg does not even tell what is there."""
        if isinstance(error, _PrimaryError):
            verdict = Verdict(MismatchKind.CONTENT, BadLeg.PRIMARY, f"cannot be looked at: {error.strerror}")
        elif is_leg_failure(error):
            verdict = Verdict(
                MismatchKind.CONTENT, BadLeg.SECONDARY, f"cannot be looked at: {error.strerror}"
            )
        else:
            return Answer.PENDING
        return Examined(suspicion, verdict, (None, None), (None, None))

    async def looks(self, path: bytes) -> Looks | None:
        """Both legs with every change of names applied; None while names there keep changing."""
        core = self._core
        number = core.names_number
        return await core.lane.run(partial(self.looks_in_lane, path, number))

    def looks_in_lane(self, path: bytes, number: int) -> Looks | None:
        """In the lane. `number` is of the last change of names when this was asked for."""
        core = self._core
        if core.is_naming():
            return None
        core.catch_up(number)
        try:
            primary = look(core.primary_fd, path)
        except OSError as error:
            raise _PrimaryError(error.errno, error.strerror) from error
        secondary = look(core.applier.root_fd, path)
        if core.is_naming() or any(
            change.number > number and concerns(change.names, path) for change in list(core.pending)
        ):
            return None
        return primary, secondary

    def node_of(self, found: Look | None) -> Node | None:
        nodes = self._core.nodes
        return None if found is None else nodes.get(nodes.ident_of(found.status))

    def is_moving(self, path: bytes, looks: Looks) -> bool:
        """Whether the secondary may be behind for this object."""
        core = self._core
        if core.is_suspect(path) or path in core.applier.touched or path in core.applier.touched_after[1]:
            return True
        if looks[0] is None:
            return False
        ident = core.nodes.ident_of(looks[0].status)
        node = core.nodes.get(ident)
        return ident in core.copying or (node is not None and node.stale is not None)

    async def _examine_link(self, suspicion: Suspicion, other: bytes, looks: Looks) -> Examined | Answer:
        others = await self.looks(other)
        if others is None or self.is_moving(other, others):
            return Answer.PENDING
        linked = [
            first is not None and second is not None and os.path.samestat(first.status, second.status)
            for first, second in zip(looks, others, strict=True)
        ]
        if linked[0] == linked[1] or None in (*looks, *others):
            return Answer.EQUAL
        verdict = judge_link(self._was_linked(suspicion.path, other), is_linked_on_primary=linked[0])
        sides = await self._sides(suspicion.path, looks)
        return Answer.PENDING if sides is None else Examined(suspicion, verdict, looks, sides)

    async def _sides(self, path: bytes, looks: Looks) -> tuple[Side | None, Side | None] | None:
        """With the hashes of regular files, read from both disks at once; None when they were written
        meanwhile."""
        sides: list[Side | None] = [None, None]
        are_still = [True, True]

        async def read(index: int, found: Look) -> None:
            sides[index], are_still[index] = await self._side(index, path, found)

        async with trio.open_nursery() as nursery:
            for index, found in enumerate(looks):
                if found is not None:
                    nursery.start_soon(read, index, found)
        if not all(are_still):
            return None
        if any(found is not None and found.view.is_file for found in looks):
            again = await self.looks(path)
            if again is None or not _are_same(looks, again) or self.is_moving(path, again):
                return None
        return sides[0], sides[1]

    async def _side(self, index: int, path: bytes, found: Look) -> tuple[Side, bool]:
        if found.view.is_directory:
            return await self._directory(index, path, found)
        if not found.view.is_file:
            return Side(found.view), True
        work = partial(hash_file, self.roots[index], path, self._methods[index])
        try:
            if index == 0:
                hashed: Hashed = await trio.to_thread.run_sync(
                    work, limiter=_limiter(), abandon_on_cancel=True
                )
            else:
                hashed = await self._core.attachment.call(work)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return Side(found.view), False  # not to be compared now, or by this user
        except OSError as error:
            return Side(found.view, None, str(error.strerror)), True
        is_still = is_same(found.status, hashed.before) and is_same(hashed.before, hashed.after)
        return Side(found.view, hashed.content, hashed.error), is_still

    async def _directory(self, index: int, path: bytes, found: Look) -> tuple[Side, bool]:
        """A disk that does not list a directory gives nothing of what is in it."""
        work = partial(_list, self.roots[index], path)
        try:
            if index == 0:
                await trio.to_thread.run_sync(work, limiter=_limiter(), abandon_on_cancel=True)
            else:
                await self._core.attachment.call(work)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return Side(found.view), False
        except OSError as error:
            return Side(found.view, None, str(error.strerror)), True
        return Side(found.view), True


def _list(root_fd: int, path: bytes) -> None:
    fd = open_beneath(root_fd, path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.listdir(fd)
    finally:
        os.close(fd)


class _PrimaryError(OSError):
    """The primary, not the secondary, does not answer."""


_limiters: Final[trio.lowlevel.RunVar[trio.CapacityLimiter]] = trio.lowlevel.RunVar("scrub_limiter")


def _limiter() -> trio.CapacityLimiter:
    """Threads of our own: reading a disk must not take those that serve people."""
    try:
        return _limiters.get()
    except LookupError:
        limiter = trio.CapacityLimiter(2)
        _limiters.set(limiter)
        return limiter


def _are_same(first: Looks, second: Looks) -> bool:
    for before, after in zip(first, second, strict=True):
        if (before is None) != (after is None):
            return False
        if before is not None and after is not None and not is_same(before.status, after.status):
            return False
    return True


def concerns(change: NameChange, path: bytes) -> bool:
    """Whether a change of names is about the path, what is above it, or its directory's times."""
    names = [change.path]
    if isinstance(change, Rename):
        names.append(change.source)
    if any(path == name or path.startswith(name + b"/") for name in names):
        return True
    return path in touched_by(change)


def is_directory(found: Look | None) -> bool:
    return found is not None and stat.S_ISDIR(found.status.st_mode)
