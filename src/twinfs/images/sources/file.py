"""An image file (or a block device) as bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from twinfs.errors import ImageError

_MAX_READ_BYTES: Final = 64 << 20
"""No caller needs more at once; a flipped bit in a length field may ask for 2^60."""


@dataclass(frozen=True, slots=True)
class _Stamp:
    size_bytes: int
    mtime_ns: int


class FileSource:
    """Reads with pread(2), so threads share it freely. Close it when done.

    `physical` gives where a byte lies in `descriptor`: others may then read it without us.
    """

    def __init__(self, path: str, *, directory_fd: int | None = None) -> None:
        """Raises ImageError when there is no such file, or it is no file and no block device.

        A name in a directory is that of the file itself: no symbolic link is followed.
        """
        self.path = path
        # Not blocking: a FIFO of that name would hang the open, see open(2).
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            self._fd = os.open(
                path, flags if directory_fd is None else flags | os.O_NOFOLLOW, dir_fd=directory_fd
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ImageError(f"{path}: {reason}") from None
        try:
            self._stamp = self._look()
        except BaseException:
            self.close()
            raise

    def _look(self) -> _Stamp:
        status = os.fstat(self._fd)
        if stat.S_ISREG(status.st_mode):
            return _Stamp(status.st_size, status.st_mtime_ns)
        if stat.S_ISBLK(status.st_mode):
            # st_size of a device is 0, and nobody keeps its mtime.
            return _Stamp(os.lseek(self._fd, 0, os.SEEK_END), 0)
        raise ImageError(f"{self.path}: neither a file nor a block device")

    @property
    def size_bytes(self) -> int:
        return self._stamp.size_bytes

    @property
    def mtime_ns(self) -> int:
        return self._stamp.mtime_ns

    @property
    def descriptor(self) -> int:
        return self._fd

    def has_changed(self) -> bool:
        """Whether somebody wrote to it since it was opened: what was read before may be wrong now."""
        return self._look() != self._stamp

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        length = min(length, self.size_bytes - offset_bytes, _MAX_READ_BYTES)
        if length <= 0 or offset_bytes < 0:
            return b""
        try:
            found = os.pread(self._fd, length, offset_bytes)
            while len(found) < length:
                more = os.pread(self._fd, length - len(found), offset_bytes + len(found))
                if not more:
                    raise ImageError(f"{self.path}: became shorter than {self.size_bytes} bytes while open")
                found += more
        except OSError as error:
            raise ImageError(f"{self.path}: reading at byte {offset_bytes}: {error.strerror}") from None
        return found

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        """As the file system under the image knows them; see lseek(2), SEEK_DATA."""
        end = min(offset_bytes + length, self.size_bytes)
        position = max(offset_bytes, 0)
        while position < end:
            try:
                start = os.lseek(self._fd, position, os.SEEK_DATA)
                stop = os.lseek(self._fd, start, os.SEEK_HOLE)
            except OSError:
                # ENXIO: nothing but a hole up to the end. EINVAL: a device, which knows of no holes.
                if stat.S_ISBLK(os.fstat(self._fd).st_mode):
                    yield position, end - position
                return
            if start >= end:
                return
            yield start, min(stop, end) - start
            position = stop

    def physical(self, offset_bytes: int, length: int) -> tuple[int, int] | None:
        """(offset in `descriptor`, length) of as much as lies in one piece."""
        length = min(length, self.size_bytes - offset_bytes)
        return (offset_bytes, length) if length > 0 else None

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
