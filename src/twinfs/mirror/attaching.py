"""The secondary comes and goes: what is waiting for it, what of it can be trusted."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import msgspec
import trio

from twinfs.fsio.syscalls import syncfs
from twinfs.journal.log import LogError
from twinfs.journal.records import (
    Compare,
)
from twinfs.mirror.attachment import Attachment
from twinfs.mirror.brake import HeldError
from twinfs.mirror.marks import Marks
from twinfs.mirror.openfile import OpenFile
from twinfs.mirror.versions.keeper import Keeper

_COMPARED_SINGLY: Final = 256
_MOST_UNPROVEN: Final = 100_000


class Attaching(Marks):
    """Attached, failed, detached, replaced, become the primary."""

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

    def is_proven(self, path: bytes) -> bool:
        """Whether the secondary's disk is known to have what it was given at the path. A page whose
        write-back failed may be dropped: until syncfs(2) tells, it reads as it was before."""
        unproven = [known for known in (self._unproven, *self._proving) if known]
        return not any(place in known for known in unproven for place in _upwards(path))

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

    def on_secondary_now(self, *paths: bytes) -> None:
        """What is pending no more although it may be in the secondary's page cache only."""
        self._unproven.update(dict.fromkeys(paths))
        if len(self._unproven) > _MOST_UNPROVEN:
            self._unproven = {b"": None}

    def forget_single_changes(self) -> None:
        """Too many wait for a secondary that is away: one "compare everything" takes their place, and what
        changes until it is back is found by that, too. `core.log` is to be begun anew."""
        since = self.pending_since()
        self.compare_later(b"", self.distrusted_since_ns)
        if since is not None:
            self.compares_since = dict.fromkeys(self.compares, since)
        self.is_counting = False
        self.pending.clear()
        self.applier.swapping.clear()
        for node in list(self.stale.values()):
            self.unmark(node)

    def secondary_failed(self, error: OSError) -> None:
        """Go on without it. Nothing is lost: what it did not do stays in the log, what it may not have
        kept is put there again, and everybody who waits for it is answered."""
        if not self.is_secondary_up or isinstance(error, LogError | HeldError):
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

    def secondary_adopted(self) -> None:
        """The same, and it holds files. Nothing is known of them, so what waits for the old disk, deletions
        among it, is not done to them: all is compared, and what differs is kept. `core.log` is to be begun
        anew."""
        self.is_secondary_up = False
        self._give_up_attachment()
        self._unproven = {}
        self.compare_later(b"", self.distrusted_since_ns, is_keeping=True)
        self.forget_single_changes()

    def secondary_missing(self) -> None:
        """From the start: nobody waits for it, and nothing was written to it."""
        self.is_secondary_up = False

    def attach(self, root_fd: int, device: int) -> None:
        """The secondary is back, perhaps as another mount; all that was given up has come back."""
        absent = self.attachment
        self.attachment = Attachment(root_fd, device, self.log)
        self.second_space = None
        self.applier.take_over(absent.applier)
        self.applier.keeper = Keeper.on(root_fd, self.window)
        self.versions_bytes = 0
        absent.end()
        # Before the comparison begins: what changes while it runs has to be known.
        self.is_counting = True
        self.is_secondary_up = True

    async def look_at_second_space(self) -> os.statvfs_result:
        applier = self.applier
        self.second_space = space = await self.lane.run(lambda: os.fstatvfs(applier.root_fd))
        return space

    def close_on_secondary(self, file: OpenFile) -> None:
        """Nobody writes to the secondary through this file any more."""
        for fd in file.take_secondary():
            self.attachment.close_later(fd)

    def _give_up_attachment(self) -> None:
        old = self.attachment
        fds = [] if old.applier.root_fd < 0 else [old.applier.root_fd]
        for node in self.nodes.open_files():
            if node.file is not None:
                fds += node.file.take_secondary()
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
        self.applier.is_suspect, self.applier.is_kept = self.is_suspect, self.is_kept
        self.is_secondary_up = False
        self.pending.clear()
        self._unproven = {}
        for node in list(self.stale.values()):
            self.unmark(node)
        self.compares = compares
        self.compares_since = dict.fromkeys(compares, time.time())
        self.primary_fd = root_fd

    def has_come_back(self) -> bool:
        """Whether no thread is waiting any more for a disk that was given up."""
        self.given_up = [old for old in self.given_up if not old.has_come_back()]
        return not self.given_up


def _upwards(path: bytes) -> Iterator[bytes]:
    """The path and all that it is in, up to the root."""
    while path:
        yield path
        path = path.rpartition(b"/")[0]
    yield b""
