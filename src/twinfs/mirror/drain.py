"""Clearing the intent log: the one mechanism behind batches, resync and rebuild.

Order: changes of names, comparisons, contents, times; then the secondary is made durable and the log is
cleared. Whatever stops it in between is still in the log.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import trio

from twinfs.fsio.metadata import SourceError, reading_source
from twinfs.fsio.syscalls import syncfs
from twinfs.journal.records import Cleared, Touched, parent_of
from twinfs.mirror.brake import HeldError
from twinfs.mirror.chunk import CHUNK_BYTES, CHUNK_OBJECTS, ChunkCopier
from twinfs.mirror.copier import Copy, MovedError, SourceUnreadableError
from twinfs.mirror.core import Core
from twinfs.mirror.failures import BusyError, is_full, is_leg_failure
from twinfs.mirror.nodes import Node
from twinfs.mirror.progress import Meter, OnProgress
from twinfs.mirror.rebuild import Rebuild, Rebuilt
from twinfs.mirror.report import pending_of
from twinfs.mirror.stale import StaleMark
from twinfs.words import count

Trouble = tuple[bytes, BaseException]
"""A path, and why it could not be mirrored."""


@dataclass(slots=True)
class Taken:
    """A stale object that is being copied. `number`: marks up to it are cleared by this copy."""

    node: Node
    mark: StaleMark
    number: int
    copy: Copy


class Drainer:
    """Runs one drain at a time."""

    def __init__(self, core: Core, *, is_deleting_excluded: bool) -> None:
        self._core = core
        self.is_deleting_excluded = is_deleting_excluded
        self.lock = trio.Lock()
        self._copier = ChunkCopier(core)
        self.rebuilt = Rebuilt()
        self.sample = self.rebuilt.sample
        self._troubles: list[Trouble] = []
        self._told: dict[tuple[bool, str], str] = {}
        self.on_event: Callable[[str, str], None] = lambda kind, message: None

    @property
    def has_troubles(self) -> bool:
        """The last drain left objects behind that the leg refused: trying again at once is no use."""
        return bool(self._troubles)

    @property
    def trouble(self) -> str | None:
        """What the last drain left behind, and why."""
        return next(iter(self._told.values()), None)

    async def drain(self, on_progress: OnProgress | None = None) -> None:
        """Bring the secondary to the primary's present state. OSError when the secondary fails, HeldError
        when that would delete too much."""
        async with self.lock:
            try:
                await self._drain(Meter(on_progress))
            except HeldError:
                self._tell_held()
                raise
            except OSError as error:
                self._core.secondary_failed(error)
                raise

    def _tell_held(self) -> None:
        """Once, however often it is tried."""
        brake = self._core.brake
        if not brake.is_told:
            brake.is_told = True
            self.on_event("deletions_held", brake.reason)

    async def _drain(self, meter: Meter) -> None:
        core = self._core
        number = core.names_number
        await core.lane.run(lambda: core.catch_up(number))
        self._troubles = []
        put_off: set[int] = set()
        while todo := [known for known in core.compares.items() if known[0] not in put_off]:
            rebuild = Rebuild(core, self._copier, meter, self.on_event, self.rebuilt)
            await rebuild.run(*todo[0], is_deleting_excluded=self.is_deleting_excluded)
            put_off.update(rebuild.put_off)
            self._troubles += rebuild.troubles
        await self._copy_stale(meter)
        self._troubles += core.applier.troubles
        core.applier.troubles.clear()
        await self._settle(is_forced=True)
        await self._tell()

    async def _copy_stale(self, meter: Meter) -> None:
        meter.step = "copying"
        marks = [node.stale for node in self._core.stale.values() if node.stale is not None]
        meter.files_total = meter.files_done + len(marks)
        meter.bytes_total = meter.bytes_done + sum(mark.ranges.total_bytes(mark.end_bytes) for mark in marks)
        tried: set[int] = set()
        while chunk := await self._take(tried):
            try:
                await self._copy_chunk(chunk, meter)
            except BaseException:
                for taken in chunk:
                    self._put_back(taken)
                raise

    async def _copy_chunk(self, chunk: list[Taken], meter: Meter) -> None:
        outcomes = await self._copier.copy([taken.copy for taken in chunk], meter)
        failed: BaseException | None = None
        copied = []
        for taken, error in zip(chunk, outcomes, strict=True):
            if error is None:
                copied.append(taken)
            else:
                failed = self._not_copied(taken, error) or failed
        await self._core.make_secondary_durable()
        for taken in copied:
            self._clear(taken)
        meter.files_done += len(copied)
        meter.report(chunk[-1].copy.path)
        if failed is not None:
            raise failed

    async def _take(self, tried: set[int]) -> list[Taken]:
        """The next objects to copy, under the paths they have now."""
        core = self._core
        chosen = [
            node
            for ident, node in core.stale.items()
            if ident not in tried
            and (mark := node.stale) is not None
            and mark.is_behind
            and not core.is_suspect(node.path())
        ]
        chosen = _bounded(chosen)
        tried.update(node.ident for node in chosen)
        await self._wait_for_writes(chosen)
        # No await from here on: numbers, paths and marks belong to one moment.
        number = core.log.last_number
        return [taken for node in chosen if (taken := self._take_one(node, number)) is not None]

    async def _wait_for_writes(self, chosen: list[Node]) -> None:
        """A write on its way to the primary is covered by the mark that is about to be taken: let it
        land. New ones wait that long, and then make new marks."""
        core = self._core
        busy = [node for node in chosen if _is_in_flight(node)]
        released = trio.Event()
        for node in busy:
            core.holds[node.ident] = released
        try:
            while any(_is_in_flight(node) for node in busy):  # noqa: ASYNC110 - rare, and milliseconds
                await trio.sleep(0.001)
        finally:
            for node in busy:
                core.holds.pop(node.ident, None)
            released.set()

    def _take_one(self, node: Node, number: int) -> Taken | None:
        core = self._core
        mark = node.stale
        if mark is None or mark.in_flight:
            return None
        path = core.mirrored_path(node)
        if path is None:
            core.clear(node)
            return None
        core.copying.add(node.ident)
        core.nodes.pin(node)
        core.unmark(node)
        if node.file is not None:
            core.close_on_secondary(node.file)
        copy = Copy(path, node.ident, mark.ranges, core.nodes.ident_of)
        copy.since_ns = None if mark.is_torn else int(mark.since * 1e9)
        copy.is_old_whole = not mark.is_torn
        return Taken(node, mark, number, copy)

    def _clear(self, taken: Taken) -> None:
        core = self._core
        if taken.copy.has_replaced:
            core.log.append(taken.number, Touched(parent_of(taken.copy.path)))
        core.log.append(taken.number, Cleared(taken.node.ident))
        if taken.mark.ranges:
            self.sample.add(taken.copy.path)
        core.copying.discard(taken.node.ident)
        core.nodes.unpin(taken.node)

    def _put_back(self, taken: Taken) -> None:
        core = self._core
        if taken.node.ident in core.copying:
            core.copying.discard(taken.node.ident)
            core.restore(taken.node, taken.mark)
            core.nodes.unpin(taken.node)

    def _not_copied(self, taken: Taken, error: BaseException) -> BaseException | None:
        """Put the mark back; returns the error when it is the leg's and ends the drain."""
        if isinstance(error, FileNotFoundError):
            self._core.compare_later(taken.copy.path)
        self._put_back(taken)
        if isinstance(error, MovedError | FileNotFoundError):
            return None
        if isinstance(error, OSError) and is_leg_failure(error):
            return error
        self._troubles.append((taken.copy.path, error))
        return None

    async def _tell(self) -> None:
        """One event for each kind of trouble, until that is over: a full disk would write thousands."""
        alike: dict[tuple[bool, str], list[Trouble]] = {}
        for path, error in self._troubles:
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            alike.setdefault((isinstance(error, SourceUnreadableError | SourceError), reason), []).append(
                (path, error)
            )
        told: dict[tuple[bool, str], str] = {}
        for (is_primary, reason), troubles in alike.items():
            if (is_primary, reason) in self._told:
                told[is_primary, reason] = self._told[is_primary, reason]
            else:
                leg = "primary cannot read" if is_primary else "secondary cannot take"
                path, error = troubles[0]
                more = f" (and {count(len(troubles) - 1, 'other')})" if len(troubles) > 1 else ""
                room = await self._missing_room(error)
                message = f"the {leg} {os.fsdecode(path)}{more}: {reason}{room}; it is tried again"
                self.on_event("not_mirrored", message)
                told[is_primary, reason] = message
        self._told = told

    async def _missing_room(self, error: BaseException) -> str:
        """How much more a full secondary needs for what is pending now; nothing where that is not known."""
        if not isinstance(error, OSError) or not is_full(error):
            return ""
        wanted = pending_of(self._core).bytes
        if error.errno == errno.ENOSPC:
            root_fd = self._core.applier.root_fd
            space = await self._core.attachment.call(lambda: os.fstatvfs(root_fd))
            wanted -= space.f_bavail * space.f_frsize
        return f", {wanted / (1 << 20):.1f} MiB more are needed" if wanted > 0 else ""

    # Times, durability, clearing

    async def settle(self) -> None:
        """Between drains: what has been left alone since the last look is cleared."""
        self._troubles = []
        await self._settle(is_forced=False)
        await self._tell()

    async def _settle(self, *, is_forced: bool) -> None:
        """Clear what both legs have; at rest, make both durable and forget the log.

        Not where comparisons are pending: equal times would make files look equal that were never
        compared. What is changed again meanwhile stays for the next time, as does what the secondary
        refuses.
        """
        core = self._core
        if core.pending or not core.is_secondary_up:
            return
        names = core.names_number
        marks = [
            (node, mark, core.mirrored_path(node) or node.path())
            for node in core.stale.values()
            if (mark := node.stale) is not None
            and _is_done(node, mark, is_forced=is_forced)
            and not core.is_suspect(node.path())
        ]
        behind = {node.path() for node in core.stale.values() if _is_behind(node)}
        touched = [
            path for path in list(core.applier.touched) if path not in behind and not core.is_suspect(path)
        ]
        refused = await self._copy_times({path: node.ident for node, _, path in marks}, touched)
        for node, mark, path in marks:
            if path not in refused and _is_done(node, mark, is_forced=False):
                core.on_secondary_now(path)
                core.clear(node)
        if core.names_number == names:
            for path in touched:
                if path not in refused:
                    core.applier.touched.pop(path, None)
        await self._rest()

    async def _copy_times(self, idents: dict[bytes, int], touched: list[bytes]) -> set[bytes]:
        """Of the objects that `idents` names, and of what is at `touched` now. Returns the paths whose times
        the secondary refuses, and those that are another object's by now, or being written."""
        core = self._core
        applier, primary_fd = core.applier, core.primary_fd
        looks = dict.fromkeys(touched, 0) | idents
        if not looks:
            return set()

        def work() -> list[tuple[bytes, OSError]]:
            tried = [
                (path, applier.copy_times(primary_fd, path, partial(core.look_between_writes, ident=ident)))
                for path, ident in looks.items()
            ]
            return [(path, error) for path, error in tried if error is not None]

        refused = await core.lane.run(work)
        self._troubles += [each for each in refused if not isinstance(each[1], BusyError)]
        return {path for path, _ in refused}

    async def make_durable(self) -> None:
        """Both legs, whatever is going on."""
        if not self._core.is_durable:
            await self._core.make_secondary_durable()
            await trio.to_thread.run_sync(_sync_primary, self._core.primary_fd)

    async def _rest(self) -> None:
        """Nothing pending: make it true for a power cut, too."""
        core = self._core
        if not core.is_settled() or core.is_durable:
            return
        number, begun_ns = core.log.last_number, time.time_ns()
        await core.make_secondary_durable()
        await trio.to_thread.run_sync(_sync_primary, core.primary_fd)
        if core.is_settled() and core.log.last_number == number:
            core.log.reset()
            core.is_durable = True
            core.durable_ns = begun_ns


def _sync_primary(fd: int) -> None:
    with reading_source():  # or its failure would be the secondary's
        syncfs(fd)


def _is_done(node: Node, mark: StaleMark, *, is_forced: bool) -> bool:
    """Written to both legs, and not again since the last look."""
    is_busy = mark.is_behind or mark.in_flight or mark.waiting
    if node.stale is not mark or is_busy or not node.is_named:
        return False
    is_quiet = is_forced or not mark.is_touched
    mark.is_touched = False
    return is_quiet


def _bounded(nodes: list[Node]) -> list[Node]:
    """As many as make a chunk, one at least."""
    size = 0
    for index, node in enumerate(nodes[:CHUNK_OBJECTS]):
        mark = node.stale
        size += mark.ranges.total_bytes(mark.end_bytes) if mark is not None else 0
        if index and size > CHUNK_BYTES:
            return nodes[:index]
    return nodes[:CHUNK_OBJECTS]


def _is_behind(node: Node) -> bool:
    return node.stale is not None and node.stale.is_behind


def _is_in_flight(node: Node) -> bool:
    return node.stale is not None and node.stale.in_flight > 0
