"""What the write path shares: the legs, the nodes, the intent log, and what is pending.

Order, for every change: the intent is in the log, the primary changes, the secondary changes (now or in
a batch), the intent is cleared. The code between two awaits is the critical section: a change of names
is announced, done on the primary and committed without one.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import msgspec
import trio

from twinfs.fsio.syscalls import syncfs
from twinfs.journal.log import IntentLog, LogError
from twinfs.journal.ranges import Ranges, rounded
from twinfs.journal.records import (
    WHOLE_FILE,
    Abort,
    Applied,
    Cleared,
    Commit,
    Compare,
    Create,
    NameChange,
    Rename,
    Stale,
    renamed,
)
from twinfs.mirror.applier import Applier
from twinfs.mirror.attachment import Attachment
from twinfs.mirror.exclude import Excludes
from twinfs.mirror.failures import is_leg_failure
from twinfs.mirror.lane import Job, Lane, gave_up
from twinfs.mirror.nodes import Node, NodeTable
from twinfs.mirror.openfile import OpenFile
from twinfs.mirror.plan import Change, without_passing
from twinfs.mirror.stale import StaleMark
from twinfs.model import Mode

_T = TypeVar("_T")

_COMPARISON_PATIENCE_SECONDS: Final = 5.0
CLOCK_SLACK_NS: Final = 5_000_000_000
_COMPARED_SINGLY: Final = 256
_MOST_UNPROVEN: Final = 100_000


@dataclass(frozen=True, slots=True)
class Mended:
    """A name of the primary behind which a scrub put another object, or other metadata, than the kernel
    knows. `ident` is the number of what stood there, 0 where nobody knew it."""

    parent: int
    name: bytes
    ident: int


NodeChange = Callable[[], int]
"""Does a change on the primary, returns the node number of the object it was about."""


class Core:
    """The volume's moving parts. `catch_up` runs in the lane, all else in the main thread."""

    def __init__(
        self, primary_fd: int, secondary_fd: int, log: IntentLog, excludes: Excludes, mode: Mode
    ) -> None:
        self.primary_fd = primary_fd
        self.log = log
        self.excludes = excludes
        self.mode = mode
        self.nodes = NodeTable(primary_fd)
        self.attachment = Attachment(
            secondary_fd, 0 if secondary_fd < 0 else os.fstat(secondary_fd).st_dev, log
        )
        self.given_up: list[Attachment] = []
        """Attachments of a disk that did not answer; calls there may still come back."""
        self.pending: deque[Change] = deque()
        self.compares: dict[int, Compare] = {}
        self.comparing = 0
        self.on_moved: Callable[[bytes], None] = lambda path: None
        """Told by the lane of what was renamed to below the path that is being compared."""
        self.stale: dict[int, Node] = {}
        self.copying: set[int] = set()
        self.names_number = 0
        self._is_naming = False
        self.is_durable = False
        self.durable_ns = time.time_ns()
        self.holds: dict[int, trio.Event] = {}
        self.is_secondary_up = True
        self.wake: Callable[[], None] = lambda: None
        self.is_counting = True
        """False while the secondary is away and everything will be compared: then no change is noted."""
        self._asked: set[int] = set()
        self._unproven: dict[bytes, None] = {}
        self._proving: list[dict[bytes, None]] = []
        self.on_secondary_error: Callable[[OSError], None] = lambda error: None
        self.on_primary_mended: Callable[[Sequence[Mended]], None] = lambda mended: None

    @property
    def applier(self) -> Applier:
        return self.attachment.applier

    @property
    def lane(self) -> Lane:
        return self.attachment.lane

    @property
    def is_mirroring_now(self) -> bool:
        """Whether a caller waits for the secondary."""
        return self.mode is Mode.SYNC and self.is_secondary_up

    @property
    def keeps_excluded(self) -> bool:
        """Whether what is excluded may be on the secondary only, because it was the primary once."""
        return self.applier.keeps_excluded

    @keeps_excluded.setter
    def keeps_excluded(self, value: bool) -> None:
        self.applier.keeps_excluded = value

    def is_suspect(self, path: bytes) -> bool:
        """Whether a comparison that covers the path is pending: nothing is known of the secondary there."""
        return bool(self.compares) and any(
            _is_below(path, known.path) for known in list(self.compares.values())
        )

    def is_excluded(self, path: bytes, *, is_directory: bool) -> bool:
        return self.excludes.matches(path, is_directory=is_directory)

    # Changes of names

    async def change_names(self, names: NameChange, act: NodeChange) -> None:
        """Announce, do on the primary, commit; then mirror as the mode says."""
        number = self.announce(names, act)
        await self.mirror_names(number)

    def announce(self, names: NameChange, act: NodeChange) -> int:
        number = self.log.next_number()
        # Whoever compares the legs must not look while the primary is ahead of `pending`.
        self._is_naming = True
        try:
            return self._announce(number, names, act)
        finally:
            self._is_naming = False

    def is_naming(self) -> bool:
        """Asked by the lane's thread: a change of names is on its way to the primary right now."""
        return self._is_naming

    def _announce(self, number: int, names: NameChange, act: NodeChange) -> int:
        if not self.is_counting:
            act()
            return number
        self.log.append(number, names)
        self.is_durable = False
        try:
            ident = act()
        except BaseException:
            self.log.owe(number, Abort())
            raise
        # The primary has changed: the caller's answer is yes, whatever becomes of this record. The next
        # start looks at the primary to decide about an announcement without an end.
        self.log.owe(number, Commit(ident))
        self.pending.append(Change(number, names, ident, time.time()))
        self.names_number = number
        return number

    async def mirror_names(self, number: int) -> None:
        """In sync mode, wait until the secondary has the change; its failure is not the caller's."""
        if not self.is_mirroring_now or (self.is_suspect(b"") and not self._asked):
            return
        try:
            await self.lane.run(lambda: self.catch_up(number))
        except OSError as error:
            self.secondary_failed(error)
        await self.wait_for_comparison()

    async def wait_for_comparison(self) -> None:
        """For a caller in sync mode whose change only a comparison can mirror. Not for ever: comparing
        everything may take long, and `status` says that it goes on."""
        if not self._asked:
            return
        if self.is_mirroring_now:
            self.wake()
            with trio.move_on_after(_COMPARISON_PATIENCE_SECONDS):
                while not self._asked.isdisjoint(list(self.compares)):  # noqa: ASYNC110 - rare
                    await trio.sleep(0.005)
        self._asked.clear()

    def catch_up(self, number: int) -> None:
        """In the lane: apply every pending change of names up to `number`, in order."""
        attachment = self.attachment
        batch = []
        for change in list(self.pending):
            if change.number > number:
                break
            batch.append(change)
        planned = {change.number: change.names for change in without_passing(batch)}
        for change in batch:
            attachment.applier.reached(change.number)
            names = planned.get(change.number)
            unexpected = attachment.applier.apply(change.number, names) if names is not None else ()
            with attachment.lock:
                if attachment.is_given_up:
                    # Done or not, it stays pending, as after a kill: the disk may have been away.
                    raise gave_up()
                self._note_applied(change, names, unexpected)
        attachment.applier.reached(number + 1)
        if len(batch) == 1 and isinstance(batch[0].names, Create):
            # Somebody waits for this one: to them it is done, times and all.
            attachment.applier.copy_times(self.primary_fd, batch[0].names.path)

    def _note_applied(self, change: Change, names: NameChange | None, unexpected: tuple[bytes, ...]) -> None:
        if names is None:
            self.applier.passed_over(change.names)
        else:
            self._follow(change.number, names, unexpected)
        # After every change: a sequence of renames done twice would give files each other's names.
        self.on_secondary_now(change.names.path)
        if isinstance(change.names, Rename):
            self.on_secondary_now(change.names.source)
        self.log.append(change.number, Applied())
        self._drop_before(change.number + 1)

    def _follow(self, number: int, names: NameChange, unexpected: tuple[bytes, ...]) -> None:
        if isinstance(names, Rename):
            self._compares_follow(number, names)
            unexpected += self._moved_uncompared(names)
        if unexpected and any(isinstance(later.names, Rename) for later in list(self.pending)[1:]):
            # These are names of the past: on the primary they may be others' by now.
            unexpected = (b"",)
        for path in unexpected:
            self.compare_later(path)

    def _moved_uncompared(self, change: Rename) -> tuple[bytes, ...]:
        """Where a comparison on its way may have passed the new place and not yet reached the old one: told
        to that comparison, or handed back for another one."""
        running = self.compares.get(self.comparing)
        others = [record for number, record in list(self.compares.items()) if number != self.comparing]
        uncovered: tuple[bytes, ...] = ()
        for path in (change.source, change.path) if change.is_exchange else (change.path,):
            if running is not None and _is_below(path, running.path):
                self.on_moved(path)
            elif (running or others) and not any(_is_below(path, record.path) for record in others):
                uncovered += (path,)
        return uncovered

    def _compares_follow(self, number: int, change: Rename) -> None:
        for known, record in list(self.compares.items()):
            if known < number and known != self.comparing:
                self.compares[known] = msgspec.structs.replace(record, path=renamed(record.path, change))

    def _drop_before(self, number: int) -> None:
        while self.pending and self.pending[0].number < number:
            self.pending.popleft()

    def compare_later(self, path: bytes, distrust_ns: int = 0, *, is_keeping: bool = False) -> None:
        """Put "compare everything below `path`" into the log."""
        if any(
            number != self.comparing
            and _is_below(path, known.path)
            and known.is_keeping >= is_keeping
            and _is_as_strict(known.distrust_ns, distrust_ns)
            for number, known in list(self.compares.items())
        ):
            return  # the one that is running may have passed the path already
        number = self.log.next_number()
        record = Compare(path, distrust_ns, self.distrusted_since_ns, is_keeping)
        self.is_durable = False
        if self._asked.issuperset(list(self.compares)):
            self._asked.add(number)
        # First here: a log that is written anew in between then has it, too.
        self.compares[number] = record
        try:
            self.log.append(number, record)
        except OSError:
            self.log.owe(number, record)
            raise

    async def make_secondary_durable(self) -> None:
        """syncfs(2). When it fails, what was written since the last time stays unproven: the kernel says
        so once, and a second success would prove nothing."""
        attachment = self.attachment
        written, self._unproven = self._unproven, {}
        self._proving.append(written)
        try:
            await attachment.call(partial(syncfs, attachment.applier.root_fd))
        except BaseException:
            if attachment is self.attachment:  # else who gave it up has seen to it
                self._unproven = written | self._unproven
            raise
        finally:
            self._proving = [other for other in self._proving if other is not written]

    @asynccontextmanager
    async def lane_at_rest(self) -> AsyncIterator[bool]:
        """Until the next await, the lane does nothing, nor notes what it did: a log begun anew would miss
        it, and do a second time what is done. False when the disk was given up first."""
        reached, go_on = threading.Event(), threading.Event()

        def rest() -> None:
            reached.set()
            go_on.wait()

        job = self.lane.start(rest)
        try:
            while not (reached.is_set() or job.is_done):  # noqa: ASYNC110 - rare, and milliseconds
                await trio.sleep(0.001)
            yield not job.is_done
        finally:
            go_on.set()

    @property
    def distrusted_since_ns(self) -> int:
        """What was written since may not have reached the disk."""
        return max(1, self.durable_ns - CLOCK_SLACK_NS)

    def on_secondary_now(self, *paths: bytes) -> None:
        """What is pending no more although it may be in the secondary's page cache only."""
        self._unproven.update(dict.fromkeys(paths))
        if len(self._unproven) > _MOST_UNPROVEN:
            self._unproven = {b"": None}

    def forget_single_changes(self) -> None:
        """Too many wait for a secondary that is away: one "compare everything" takes their place, and what
        changes until it is back is found by that, too. `core.log` is to be begun anew."""
        self.compare_later(b"", self.distrusted_since_ns)
        self.is_counting = False
        self.pending.clear()
        self.applier.swapping.clear()
        for node in list(self.stale.values()):
            self.unmark(node)

    def secondary_failed(self, error: OSError) -> None:
        """Go on without it. Nothing is lost: what it did not do stays in the log, what it may not have
        kept is put there again, and everybody who waits for it is answered."""
        if not self.is_secondary_up or isinstance(error, LogError):
            return
        self.is_secondary_up = False
        self._give_up_attachment()
        self._distrust_unproven()
        self.on_secondary_error(error)

    def _distrust_unproven(self) -> None:
        """What the disk may not have kept is compared, whatever sizes and times say: what is known to have
        been written, and what comparisons have copied that did not come to an end."""
        since_ns = self.distrusted_since_ns
        for number, record in list(self.compares.items()):
            if not record.distrust_ns or record.distrust_ns > since_ns:
                self.compares[number] = msgspec.structs.replace(record, distrust_ns=since_ns)
                self.log.owe(number, self.compares[number])
        unproven = self._unproven.copy()
        for proving in self._proving:
            unproven.update(proving)
        self._unproven = {}
        for path in unproven if len(unproven) <= _COMPARED_SINGLY else (b"",):
            # The state store refuses: the record is owed.
            with contextlib.suppress(LogError):
                self.compare_later(path, since_ns)

    def let_go_of_secondary(self) -> None:
        """On purpose; what changes from now on waits."""
        self.is_secondary_up = False
        self._give_up_attachment()
        self._distrust_unproven()

    def secondary_replaced(self) -> None:
        """Another disk is to take its place: it has nothing of what this one has."""
        self.is_secondary_up = False
        self._give_up_attachment()
        self._unproven = {}
        self.compare_later(b"")

    def secondary_missing(self) -> None:
        """From the start: nobody waits for it, and nothing was written to it."""
        self.is_secondary_up = False

    def attach(self, root_fd: int, device: int) -> None:
        """The secondary is back, perhaps as another mount; all that was given up has come back."""
        absent = self.attachment
        self.attachment = Attachment(root_fd, device, self.log)
        self.applier.take_over(absent.applier)
        absent.end()
        # Before the comparison begins: what changes while it runs has to be known.
        self.is_counting = True
        self.is_secondary_up = True

    def close_on_secondary(self, file: OpenFile) -> None:
        """Nobody writes to the secondary through this file any more."""
        if (fd := file.take_secondary()) >= 0:
            self.attachment.close_later(fd)

    def _give_up_attachment(self) -> None:
        old = self.attachment
        fds = [] if old.applier.root_fd < 0 else [old.applier.root_fd]
        for node in self.nodes.open_files():
            if node.file is not None and (fd := node.file.take_secondary()) >= 0:
                fds.append(fd)
        for node in self.stale.values():
            if node.stale is not None:
                node.stale.is_behind = True
        old.give_up(fds)
        self.given_up.append(old)
        self.attachment = Attachment(-1, 0, self.log)
        self.applier.take_over(old.applier)

    def stand_on(self, root_fd: int, compares: dict[int, Compare]) -> None:
        """The secondary is the primary from now on, alone, and its tree is the truth; the log has been begun
        anew with `compares`."""
        self._give_up_attachment()
        self.attachment.end()
        self.attachment = Attachment(-1, 0, self.log)
        self.is_secondary_up = False
        self.pending.clear()
        self._unproven = {}
        for node in list(self.stale.values()):
            self.unmark(node)
        self.compares = compares
        self.primary_fd = root_fd

    def has_come_back(self) -> bool:
        """Whether no thread is waiting any more for a disk that was given up."""
        self.given_up = [old for old in self.given_up if not old.has_come_back()]
        return not self.given_up

    # Content and metadata

    def mark(self, node: Node, start: int, end: int, *, is_done: bool = False) -> StaleMark | None:
        """Before the primary changes: [start, end) of the content (none if empty) and the metadata may
        differ from now on. None for an object that is not mirrored or has no name any more.

        `is_done`: the primary has changed already, so a full log must not stop it.
        """
        if not self.is_counting:
            return None
        if not node.is_named:
            if not node.is_removed:
                # It lives on under a name that is not known here; only looking at everything finds it.
                self.compare_later(b"")
            return None
        path = self.mirrored_path(node)
        if path is None:
            return None
        content_end = end if start < end < Ranges.OPEN_END else 0
        is_suspect = self.is_suspect(path)
        if is_suspect:
            # A partial copy would make a file look equal that was never compared.
            start, end = 0, Ranges.OPEN_END
        elif start != end:
            start, end = rounded(start, min(end, Ranges.OPEN_END))
        mark = node.stale
        is_behind = is_suspect or not self.is_mirroring_now or node.ident in self.copying
        if mark is not None:
            mark.is_behind = mark.is_behind or is_behind
            mark.is_ahead = mark.is_ahead and not is_behind
            mark.is_touched = True
            mark.end_bytes = max(mark.end_bytes, content_end)
            if start == end or mark.ranges.covers(start, end):
                return mark
        self.is_durable = False
        number = self.log.next_number()
        recorded_end = WHOLE_FILE if end >= Ranges.OPEN_END else end
        record = self.log.owe if is_done else self.log.append
        record(number, Stale(node.ident, path, start, recorded_end))
        if mark is None:
            mark = node.stale = StaleMark(number, is_behind=is_behind)
            self.stale[node.ident] = node
            self.nodes.pin(node)
        mark.number = number
        mark.end_bytes = max(mark.end_bytes, content_end)
        if start != end:
            mark.ranges.add(start, end)
        return mark

    def mirrored_path(self, node: Node) -> bytes | None:
        """The node's path, or that of another of its names, that is not excluded."""
        if not node.is_named:
            return None
        path = node.path()
        if not self.excludes or not self.is_excluded(path, is_directory=node.is_directory):
            return path
        if node.is_directory:
            return None
        for parent, name in self.nodes.names(node):
            path = parent.child_path(name)
            if not self.is_excluded(path, is_directory=False):
                return path
        if self.nodes.has_unknown_names(node):
            self.compare_later(b"")
        return None

    def unmark(self, node: Node) -> None:
        """The object needs no copying any more; the log is the caller's business."""
        if node.stale is not None:
            node.stale = None
            del self.stale[node.ident]
            self.nodes.unpin(node)

    def name_goes(self, node: Node | None, parent: Node, name: bytes, status: os.stat_result) -> None:
        """Before a name is removed or replaced: what is stale must stay reachable by another."""
        if node is None:
            return
        if node.ident in self.copying and status.st_nlink > 1:
            # The mark that is being worked off names the name that goes.
            self.mark(node, 0, Ranges.OPEN_END)
        if node.stale is None:
            return
        others = [known for known in self.nodes.names(node) if known != (parent, name)]
        if others:
            self.remember_path(node, others[0][0].child_path(others[0][1]))
        elif status.st_nlink > 1:
            # Its other names are not known here: only looking at everything finds them.
            self.compare_later(b"")

    async def on_secondary(self, call: Callable[[], _T], mark: StaleMark) -> _T | None:
        """Do `call` in the secondary's lane, where names are those of now; on failure the object is
        behind and None comes back."""
        number = self.names_number

        def caught_up() -> _T:
            self.catch_up(number)
            return call()

        return await self.second_result(self.lane.start(caught_up), mark)

    async def second_result(self, job: Job[_T], mark: StaleMark) -> _T | None:
        try:
            return await job.wait()
        except OSError as error:
            self.fell_behind(mark, error)
            return None

    def fell_behind(self, mark: StaleMark, error: OSError) -> None:
        """The secondary could not follow for one object: it is copied later."""
        mark.is_behind, mark.is_ahead = True, False
        if is_leg_failure(error):
            self.secondary_failed(error)

    def is_node(self, node: Node) -> Callable[[os.stat_result], bool]:
        """Whether a status is the node's: a path may lead to another object by the time it is opened."""
        return lambda status: self.nodes.ident_of(status) == node.ident

    async def let_writes_land(self, node: Node) -> None:
        """Until the next await, no write to the node is on its way: those there are have landed, new ones
        wait. A write puts the mtime back to what it was before, which must not undo what is set meanwhile."""
        while (hold := self.holds.get(node.ident)) is not None:
            await hold.wait()
        if not _is_in_flight(node):
            return
        landed = self.holds[node.ident] = trio.Event()
        try:
            while _is_in_flight(node):  # noqa: ASYNC110 - rare, and milliseconds
                await trio.sleep(0.001)
        finally:
            if self.holds.get(node.ident) is landed:
                del self.holds[node.ident]
            landed.set()

    async def mirror_metadata(self, node: Node) -> None:
        """In sync mode, give the secondary's object the primary's owner, mode, xattrs and times."""
        await self.wait_for_comparison()
        mark = node.stale
        path = self.mirrored_path(node)
        if mark is None or mark.is_behind or path is None:
            return
        mark.in_flight += 1
        try:
            await self.on_secondary(
                lambda: self.applier.copy_metadata(self.primary_fd, path, self.is_node(node)), mark
            )
        finally:
            mark.in_flight -= 1

    def remember_path(self, node: Node, path: bytes) -> None:
        """Log a stale object's marks again under another of its names."""
        if (mark := node.stale) is None:
            return
        for start, end in list(mark.ranges) or [(0, 0)]:
            recorded_end = WHOLE_FILE if end >= Ranges.OPEN_END else end
            self.log.append(mark.number, Stale(node.ident, path, start, recorded_end))

    def restore(self, node: Node, taken: StaleMark) -> None:
        """A copy failed: what it took is pending again, with what was marked since."""
        mark = node.stale
        if not node.is_named:
            self.log.append(taken.number, Cleared(node.ident))
            return
        if mark is None:
            node.stale = taken
            self.stale[node.ident] = node
            self.nodes.pin(node)
        else:
            for start, end in taken.ranges:
                mark.ranges.add(start, end)
            mark.since = min(mark.since, taken.since)
            mark.first_number = min(mark.first_number, taken.first_number)
            mark.end_bytes = max(mark.end_bytes, taken.end_bytes)
            mark.is_behind = True
            # Many ranges become fewer, larger ones: what they cover now must be in the log, too.
            self.remember_path(node, node.path())

    def clear(self, node: Node) -> None:
        """The object is gone from both legs, or equal on both."""
        if (mark := node.stale) is not None:
            self.unmark(node)
            self.log.owe(mark.number, Cleared(node.ident))

    # What is pending

    @property
    def is_behind(self) -> bool:
        """Whether anything waits for a drain."""
        return bool(
            self.pending
            or self.compares
            or any((mark := node.stale) is not None and mark.is_behind for node in self.stale.values())
        )

    def is_done_up_to(self, number: int) -> bool:
        """Whether nothing is pending that was recorded by then."""
        return not (
            self.copying
            or any(change.number <= number for change in list(self.pending))
            or any(known <= number for known in list(self.compares))
            or any(
                (mark := node.stale) is not None and mark.is_behind and mark.first_number <= number
                for node in self.stale.values()
            )
        )

    def is_settled(self) -> bool:
        """Whether nothing at all is pending."""
        return not (
            self.pending
            or self.stale
            or self.compares
            or self.applier.touched
            or self.applier.touched_after[1]
            or self.copying
        )


def _is_in_flight(node: Node) -> bool:
    return node.stale is not None and node.stale.in_flight > 0


def _is_below(path: bytes, directory: bytes) -> bool:
    return not directory or path == directory or path.startswith(directory + b"/")


def _is_as_strict(known_ns: int, wanted_ns: int) -> bool:
    """Whether a comparison that distrusts since `known_ns` reads what one since `wanted_ns` would."""
    return not wanted_ns or 0 < known_ns <= wanted_ns
