"""Writing versions on one leg: the segment that is open, its log, its objects."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from twinfs.journal.frames import framed
from twinfs.mirror.folders import VERSIONS
from twinfs.mirror.versions import records, segments
from twinfs.mirror.versions.dropping import drop_oldest
from twinfs.mirror.versions.records import Filled, Filling, Record
from twinfs.mirror.versions.settling import Left, settle

_LOG_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
SEGMENT_RECORDS: Final = 20_000
_LARGE_LOG_BYTES: Final = 64 << 10
SEGMENTS_KEPT: Final = 20
"""About how many segments the window's time and size are divided into: what goes at once is a twentieth."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a log stands, to go back to. `number` is of the next object."""

    segment: bytes
    size: int
    number: int
    used_bytes: int


class Shelf:
    """For one thread, the secondary's lane. Opened with the first thing that is kept; OSError from all."""

    def __init__(self, root_fd: int, segment_seconds: float, segment_bytes: int) -> None:
        self.root_fd = root_fd
        self._segment_seconds = segment_seconds
        self._segment_bytes = segment_bytes
        self._left: Left | None = None
        self._number = 0
        self.segment: bytes | None = None
        """The one that is open."""
        self._dir_fd = -1
        self._begun = 0.0
        self._log_size = self._records = self._next_object = self.used_bytes = 0
        self._is_to_end = False
        self.filling: set[int] = set()

    @property
    def last_of_before(self) -> Record | None:
        """The last change of the session before, until something is written."""
        return None if self._left is None else self._left.last

    def settle(self) -> None:
        """What the session before left half done is put right. Before anything on the leg is looked at."""
        if self._left is None:
            self._left = settle(self.root_fd)
            self.filling = set(self._left.filling)
            self._number = self._left.next_segment

    def open(self, *, may_end: bool) -> bool:
        """Have a segment that takes more, another one where the open one has its size or age and `may_end`.
        True."""
        self.settle()
        is_full = self._records >= SEGMENT_RECORDS or self.used_bytes >= self._segment_bytes
        is_old = time.monotonic() - self._begun >= self._segment_seconds
        if may_end and self.segment is not None and (self._is_to_end or is_full or is_old):
            self.end_segment()
        if self.segment is None:
            self._begin_segment()
        return True

    def _begin_segment(self) -> None:
        try:
            os.mkdir(VERSIONS, 0o700, dir_fd=self.root_fd)
        except FileExistsError:
            pass
        name = segments.segment_name(self._number, time.time_ns())
        path = VERSIONS + b"/" + name
        os.mkdir(path, 0o700, dir_fd=self.root_fd)
        self._number += 1
        dir_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.root_fd)
        try:
            os.close(os.open(segments.LOG_NAME, _LOG_FLAGS | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=dir_fd))
        except BaseException:
            os.close(dir_fd)
            # Left there, it would look like something to drop for room.
            with contextlib.suppress(OSError):
                os.rmdir(path, dir_fd=self.root_fd)
            raise
        self._dir_fd, self.segment, self._begun = dir_fd, name, time.monotonic()
        self._log_size = self._records = self._next_object = self.used_bytes = 0
        self._is_to_end = False
        for ino in sorted(self.filling):
            self.append(Filling(ino))

    def end_segment(self) -> None:
        """What comes next goes into another one, and this one may be dropped."""
        if self._dir_fd >= 0:
            os.close(self._dir_fd)
        self._dir_fd = -1
        self.segment = None

    def end_segment_soon(self) -> None:
        """The same, from another thread: with the next thing that is kept."""
        self._is_to_end = True

    @property
    def directory_fd(self) -> int:
        """Of the segment that is open."""
        return self._dir_fd

    @property
    def place(self) -> Place:
        return Place(self.segment or b"", self._log_size, self._next_object, self.used_bytes)

    def new_number(self) -> int:
        self._next_object += 1
        return self._next_object - 1

    def append(self, record: Record) -> None:
        """One write(2): a kill leaves a whole record, or one that is known to be cut short."""
        data = framed(records.encode(record))
        with self._log() as fd:
            written = os.write(fd, data)
            if written != len(data):
                os.ftruncate(fd, self._log_size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._log_size += written
        self._records += 1
        if self._left is not None:
            self._left.last = None

    @contextlib.contextmanager
    def _log(self) -> Iterator[int]:
        """For as long as it takes: a disk with a file open for writing cannot be remounted read-only."""
        fd = os.open(segments.LOG_NAME, _LOG_FLAGS, dir_fd=self._dir_fd)
        try:
            yield fd
        finally:
            os.close(fd)

    def go_back_to(self, place: Place) -> None:
        """The change was not done after all: forget what was written since, with its objects."""
        if place.segment != self.segment:
            return
        with self._log() as fd:
            os.ftruncate(fd, place.size)
        self._log_size, self.used_bytes = place.size, place.used_bytes
        for number in range(place.number, self._next_object):
            try:
                os.unlink(b"%d" % number, dir_fd=self._dir_fd)
            except FileNotFoundError:
                continue

    def note_filling(self, ino: int) -> None:
        self.filling.add(ino)
        self.append(Filling(ino))

    def note_filled(self, ino: int) -> None:
        if ino in self.filling:
            self.filling.discard(ino)
            self.append(Filled(ino))

    def make_room(self) -> bool:
        """Drop the oldest segment, the open one if there is no other; False when nothing is left to drop that
        takes room. Who tries again after each True comes to an end: the open one is worth it only where an
        object has been put there since it was begun."""
        if drop_oldest(self.root_fd, but=self.segment):
            return True
        if self.segment is not None and not self.used_bytes and self._log_size < _LARGE_LOG_BYTES:
            return False
        self.end_segment()
        return drop_oldest(self.root_fd, but=None) is not None

    def close(self) -> None:
        self.end_segment()
