"""One leg's thread: reads parts of files from the disk into memory that it is handed, and nothing else."""

from __future__ import annotations

import mmap
import os
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from twinfs.fsio.syscalls import open_beneath
from twinfs.fsio.uncached import close_uncached, open_uncached, read_whole, rounded_up
from twinfs.model import ReadMethod
from twinfs.scrub.todo import Item
from twinfs.scrub.views import is_same

_GRANULARITY_NS = 20_000_000
"""File systems' clocks tick every 1 to 10 ms: what changed just now may change again and show the same."""


@dataclass(frozen=True, slots=True)
class Part:
    """[offset, offset + length) of a file, to be put at `at` of the batch's memory. Nothing of the file was
    read before `begun_ns`."""

    item: Item
    begun_ns: int
    offset: int
    length: int
    at: int

    @property
    def is_first(self) -> bool:
        return self.offset == 0

    @property
    def is_last(self) -> bool:
        return self.offset + self.length >= self.item.size


@dataclass(slots=True)
class PartRead:
    """`count` bytes came. With a file's last part: its status, and whether it held still all the while."""

    count: int = 0
    status: os.stat_result | None = None
    is_still: bool = False
    error: OSError | None = None


class LegReader(threading.Thread):
    """Works off batches, first come first served; the large file it is in stays open between two."""

    def __init__(self, root_fd: int, method: ReadMethod, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._root_fd = root_fd
        self._method = method
        self._jobs: queue.SimpleQueue[tuple[Sequence[Part], mmap.mmap] | None] = queue.SimpleQueue()
        self.results: queue.SimpleQueue[list[PartRead]] = queue.SimpleQueue()
        self._directory: tuple[bytes, int] | None = None
        self._fd = -1
        self._before: os.stat_result | None = None
        self._begun_ns = 0
        self._error: OSError | None = None
        self.start()

    def submit(self, parts: Sequence[Part], memory: mmap.mmap) -> None:
        self._jobs.put((parts, memory))

    def close(self) -> None:
        self._jobs.put(None)
        self.join()

    def run(self) -> None:
        while (job := self._jobs.get()) is not None:
            parts, memory = job
            with memoryview(memory) as view:
                self.results.put([self._part(part, view) for part in parts])
        self._end_file()
        self._leave_directory()

    def _part(self, part: Part, memory: memoryview) -> PartRead:
        if part.is_first:
            self._error = self._begin_file(part.item.path)
        found = PartRead(error=self._error)
        if self._error is None:
            end = part.at + rounded_up(part.length)
            try:
                found.count = read_whole(self._fd, memory[part.at : end], part.offset)
            except OSError as error:
                found.error = self._error = error
        if part.is_last:
            self._finish(found)
        return found

    def _finish(self, found: PartRead) -> None:
        if self._fd >= 0 and self._before is not None:
            found.status = os.fstat(self._fd)
            is_old = abs(self._begun_ns - self._before.st_ctime_ns) > _GRANULARITY_NS
            found.is_still = is_old and is_same(self._before, found.status) and found.status.st_nlink > 0
        self._end_file()

    def _begin_file(self, path: bytes) -> OSError | None:
        parent, _, name = path.rpartition(b"/")
        try:
            self._fd = open_uncached(name, self._method, self._enter(parent))
        except OSError as error:
            return error
        self._begun_ns = time.time_ns()
        self._before = os.fstat(self._fd)
        return None

    def _end_file(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            close_uncached(fd, self._method)

    def _enter(self, path: bytes) -> int:
        """The directory of the file before is mostly that of the next one, too."""
        if self._directory is None or self._directory[0] != path:
            self._leave_directory()
            self._directory = path, open_beneath(self._root_fd, path, os.O_PATH | os.O_DIRECTORY)
        return self._directory[1]

    def _leave_directory(self) -> None:
        if self._directory is not None:
            os.close(self._directory[1])
            self._directory = None
