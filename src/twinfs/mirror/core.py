"""The write path of names, and what it shares with that of contents.

Order, for every change: the intent is in the log, the primary changes, the secondary changes (now or in
a batch), the intent is cleared. The code between two awaits is the critical section: a change of names
is announced, done on the primary and committed without one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from twinfs.journal.records import (
    Abort,
    Applied,
    Commit,
    Create,
    NameChange,
    Rename,
)
from twinfs.mirror.attaching import Attaching
from twinfs.mirror.brake import HeldError
from twinfs.mirror.failures import is_full, is_leg_failure
from twinfs.mirror.lane import Job, gave_up
from twinfs.mirror.newfile import NewFile
from twinfs.mirror.nodes import Node
from twinfs.mirror.openfile import order_of
from twinfs.mirror.plan import Change, without_passing
from twinfs.mirror.stale import StaleMark

_T = TypeVar("_T")

NodeChange = Callable[[], int]
"""Does a change on the primary, returns the node number of the object it was about."""


class Core(Attaching):
    """The volume's moving parts. `catch_up` runs in the lane, all else in the main thread."""

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
        self.pending.append(Change(number, names, ident, time.time(), self.is_mirroring_now))
        self.names_number = number
        return number

    async def mirror_names(self, number: int, new: NewFile | None = None) -> None:
        """In sync mode, wait until the secondary has the change; its failure is not the caller's. `new` is
        the file that the change makes: what it has in the end is the caller's to keep, or to let go."""
        if not self.is_mirroring_now or (self.is_suspect(b"") and not self._asked):
            return
        if new is None:
            work = partial(self.catch_up, number)
        else:
            new.begin(self.attachment, self.doubts)
            work = partial(self._make_open, number, new)
        try:
            await self.lane.run(work)
        except OSError as error:
            self.secondary_failed(error)
        await self.wait_for_comparison()

    def _make_open(self, number: int, new: NewFile) -> None:
        """In the lane: `catch_up`, and hand the new file over, open."""
        try:
            self.catch_up(number, new)
        except BaseException:
            new.drop()
            raise
        new.hand_over()

    def keep_new(self, new: NewFile, node: Node) -> None:
        """The new file's first write finds it open on the secondary; unless that may be another file by now,
        or somebody has been at it since."""
        file = node.file
        is_same_disk = new.is_of(self.attachment) and new.doubts == self.doubts
        is_untouched = node.stale is None and node.ident not in self.copying
        is_right = is_same_disk and is_untouched and not self.is_suspect(node.path())
        if is_right and file is not None and file.secondary_fd < 0:
            file.secondary_fd, new.fd = new.fd, -1
        else:
            new.let_go()

    def catch_up(self, number: int, new: NewFile | None = None) -> None:
        """In the lane: apply every pending change of names up to `number`, in order. HeldError before the
        first of them when all that are pending would delete too much. `new` is what the last one makes."""
        attachment = self.attachment
        pending = list(self.pending)
        applier = attachment.applier
        self.brake.check(applier.root_fd, pending, keeps_excluded=applier.keeps_excluded)
        batch = []
        for change in pending:
            if change.number > number:
                break
            batch.append(change)
        planned = {change.number: change.names for change in without_passing(batch)}
        for change in batch:
            attachment.applier.reached(change.number)
            names = planned.get(change.number)
            attachment.applier.since_ns = int(change.since * 1e9)
            made = new if change.number == number else None
            unexpected = () if names is None else attachment.applier.apply(change.number, names, made)
            with attachment.lock:
                if attachment.is_given_up:
                    # Done or not, it stays pending, as after a kill: the disk may have been away.
                    raise gave_up()
                self._note_applied(change, names, unexpected)
        attachment.applier.reached(number + 1)
        if len(batch) == 1 and isinstance(batch[0].names, Create) and (new is None or not new.is_opened):
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

    def _drop_before(self, number: int) -> None:
        while self.pending and self.pending[0].number < number:
            self.pending.popleft()

    async def on_secondary(self, call: Callable[[], _T], mark: StaleMark) -> _T | None:
        """Do `call` in the secondary's lane, where names are those of now; on failure the object is
        behind and None comes back."""
        number = self.names_number

        def caught_up() -> _T:
            self.catch_up(number)
            return call()

        return await self.second_result(lambda: self.lane.start(caught_up), mark)

    async def second_result(
        self, start: Callable[[], Job[_T]], mark: StaleMark, job: Job[_T] | None = None
    ) -> _T | None:
        """What `job`, or what `start` begins, brings. Where there is no room, versions give way."""
        while True:
            try:
                return await (job or start()).wait()
            except OSError as error:
                job = None
                if not (is_full(error) and await self.make_room()):
                    self.fell_behind(mark, error)
                    return None

    async def make_room(self) -> bool:
        """Whether versions could be dropped on the secondary."""
        if self.window is None or not self.is_secondary_up:
            return False
        try:
            return await self.lane.run(self.applier.keeper.make_room)
        except OSError:
            return False  # it was given up

    def fell_behind(self, mark: StaleMark, error: OSError) -> None:
        """The secondary could not follow for one object: it is copied later."""
        mark.is_behind, mark.is_ahead = True, False
        # What the brake holds was not begun: the secondary has the old content, whole.
        mark.is_torn = mark.is_torn or not isinstance(error, HeldError)
        if is_leg_failure(error):
            self.secondary_failed(error)

    async def mirror_metadata(self, node: Node) -> None:
        """In sync mode, give the secondary's object the primary's owner, mode, xattrs and times."""
        await self._mirror_to(
            node, lambda path: self.applier.copy_metadata(self.primary_fd, path, self.is_node(node))
        )

    async def mirror_times(self, node: Node, times_ns: tuple[int, int]) -> None:
        """The same where nothing but the times were set on the primary, to these (atime, mtime). Without an
        await since then: whoever comes to the secondary last sets what the primary got last."""
        mark = node.stale
        if mark is None:
            await self.wait_for_comparison()
            return
        mark.times_ns = times_ns
        await self._mirror_to(node, lambda path: self.applier.set_times(path, mark.times_ns))

    async def _mirror_to(self, node: Node, act: Callable[[bytes], None]) -> None:
        mark = node.stale
        if mark is None:
            await self.wait_for_comparison()
            return
        # Not in flight: the comparison may wait for what is. But not done either, until that is over.
        mark.waiting += 1
        try:
            await self.wait_for_comparison()
        finally:
            mark.waiting -= 1
        path = self.mirrored_path(node)
        mark.answered()
        if node.stale is not mark or mark.is_behind or path is None:
            return
        mark.in_flight += 1
        try:
            # A write there puts the times back to what they were before: not while this sets them.
            async with order_of(node.file):
                await self.on_secondary(lambda: act(path), mark)
        finally:
            mark.in_flight -= 1
