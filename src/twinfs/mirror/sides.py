"""One open file, on both legs, for reading: descriptors that threads share, and when they can be trusted."""

from __future__ import annotations

import errno
import os
import stat
import threading
from typing import TYPE_CHECKING, Final

from twinfs.fsio.copy import read_whole
from twinfs.mirror.attachment import Attachment
from twinfs.mirror.lane import Job

if TYPE_CHECKING:
    from twinfs.mirror.stream import Stream

_STEP_BYTES: Final = 512 * 1024
_NEAR_BYTES: Final = 2 << 20
_COARSEST_TIME_NS: Final = 2_000_000_000
"""FAT keeps an mtime to two seconds."""


class SharedFd:
    """A descriptor that threads read from, closed when nobody begins any more and the last has ended: the
    number of one that was closed earlier is used again, and a late read would be of another file."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._users = 0
        self._is_retired = False

    def read(self, offset: int, size: int) -> tuple[memoryview, int]:
        """In a thread: (what is there, the file's size after it was read). OSError, ESTALE once retired."""
        self._begin()
        try:
            # Its own: nobody may be listening any more when it is filled.
            buffer = memoryview(bytearray(size))
            filled = read_whole(self._fd, buffer, offset)
            return buffer[:filled], os.fstat(self._fd).st_size
        finally:
            self._end()

    def read_ahead(self, offset: int, size: int) -> None:
        """In a thread: have the kernel ask the disk for all of it, see posix_fadvise(2). Step by step: it
        takes no more of one call than fits into a request of that disk's."""
        self._begin()
        try:
            for start in range(offset, offset + size, _STEP_BYTES):
                os.posix_fadvise(self._fd, start, _STEP_BYTES, os.POSIX_FADV_WILLNEED)
        finally:
            self._end()

    def _begin(self) -> None:
        with self._lock:
            if self._is_retired:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            self._users += 1

    def _end(self) -> None:
        with self._lock:
            self._users -= 1
            is_last = self._is_retired and not self._users
        if is_last:
            os.close(self._fd)

    def retire(self) -> int:
        """The descriptor, now the caller's to close; -1 where the last reader does it."""
        with self._lock:
            if self._is_retired:
                return -1
            self._is_retired = True
            return -1 if self._users else self._fd


class SecondFile:
    """The secondary's file, from when it is asked for. The lane's thread opens it."""

    def __init__(self, attachment: Attachment, doubts: int, changes: int, path: bytes) -> None:
        """`path` is its name there with all that was asked of the lane before; nothing else is pending."""
        self.attachment = attachment
        self.doubts = doubts
        self.changes = changes
        self.is_good: bool | None = None
        self.fd: SharedFd | None = None
        self._status: os.stat_result | None = None
        self._lock = threading.Lock()
        self._is_unwanted = False
        self._path = path
        self.job: Job[None] = attachment.lane.start(self._open)

    def _open(self) -> None:
        dir_fd, name = self.attachment.applier.locate(self._path)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=dir_fd)
        with self._lock:
            if not self._is_unwanted:
                self._status = os.fstat(fd)
                self.fd = SharedFd(fd)
                return
        os.close(fd)

    def judge(self, primary: os.stat_result, changes: int) -> None:
        """Once opened. An object without a mark is equal on both legs: if it does not look so, somebody
        else has been there, and it is no copy to read from."""
        status = self._status
        self.is_good = (
            status is not None
            and changes == self.changes
            and stat.S_ISREG(status.st_mode)
            and status.st_size == primary.st_size
            and abs(status.st_mtime_ns - primary.st_mtime_ns) < _COARSEST_TIME_NS
        )

    def take(self) -> int:
        """The descriptor, now the caller's to close; -1 where a thread does it."""
        with self._lock:
            self._is_unwanted = True
            return -1 if self.fd is None else self.fd.retire()


class Sides:
    """Of one open file."""

    def __init__(self, primary_fd: int) -> None:
        self.primary = SharedFd(primary_fd)
        self.second: SecondFile | None = None
        self._next_offsets = [-1, -1]
        self.last_leg = -1
        """The one where a sequential reader is, if there is one."""
        self.waiting_on_primary = 0
        """How many requests of this file's."""
        self.run_end = 0
        self.run_bytes = 0
        self.stream: Stream | None = None

    def is_seek(self, leg: int, offset: int) -> bool:
        """Whether a request does not go on where the leg's last one ended, or a little further on."""
        end = self._next_offsets[leg]
        return end < 0 or not end - _NEAR_BYTES <= offset <= end + _NEAR_BYTES

    def asked(self, leg: int, end: int, *, is_seek: bool) -> None:
        self._next_offsets[leg] = end
        self.last_leg = -1 if is_seek else leg

    def served_by_primary(self, end: int) -> None:
        """From its page cache: no request to a disk, but where the reader is now."""
        self._next_offsets[0] = end

    def take_secondary(self) -> int:
        second, self.second = self.second, None
        return -1 if second is None else second.take()

    def close_primary(self) -> None:
        if self.stream is not None:
            self.stream.end()
        if (fd := self.primary.retire()) >= 0:
            os.close(fd)
