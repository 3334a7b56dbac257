"""Copying file contents between descriptors, holes kept."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator

from twinfs.fsio.syscalls import punch_hole

_CHUNK_BYTES = 4 * 1024 * 1024


class UnreadableError(OSError):
    """It is the file that was to be read, of two, which does not give its content."""


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnreadableError(error.errno, error.strerror) from error


def data_extents(fd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of [start, end) that hold data, in order; see SEEK_DATA in lseek(2)."""
    position = start
    while position < end:
        try:
            data = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole to the end of the file
                return
            raise
        if data >= end:
            return
        hole = min(os.lseek(fd, data, os.SEEK_HOLE), end)
        yield data, hole
        position = hole


def copy_range(
    source_fd: int, destination_fd: int, start: int, end: int, on_bytes: Callable[[int], None] | None = None
) -> None:
    """Make [start, end) of the destination read like the source's; holes become holes.

    The destination may hold anything there. A source that shrinks meanwhile ends the copy early:
    its new size is the caller's to set. UnreadableError when it is the source that fails.
    """
    position = start
    with _reading():
        extents = list(data_extents(source_fd, start, end))
    for data, hole in extents:
        _make_hole(destination_fd, position, data)
        _copy_bytes(source_fd, destination_fd, data, hole, on_bytes)
        position = hole
    _make_hole(destination_fd, position, end)


def read_whole(fd: int, buffer: memoryview, offset: int) -> int:
    """Fill `buffer`; returns the bytes read, fewer only at the end of the file. OSError.

    pread(2) stops short of a block that cannot be read and says nothing: only asking on gives the error.
    What takes a short answer for the end of the file would put zeros there.
    """
    filled = 0
    while filled < len(buffer) and (count := os.preadv(fd, [buffer[filled:]], offset + filled)):
        filled += count
    return filled


def is_same_content(
    first_fd: int, second_fd: int, size: int, on_bytes: Callable[[int], None] | None = None
) -> bool:
    """Whether two files read alike up to `size`; holes of both are passed over.

    What is clean in the page cache of the second is dropped first, so that its disk is what is read.
    UnreadableError when it is the first that fails.
    """
    os.posix_fadvise(second_fd, 0, 0, os.POSIX_FADV_DONTNEED)
    with _reading():
        first = list(data_extents(first_fd, 0, size))
    second = list(data_extents(second_fd, 0, size))
    if not _reads_alike(first_fd, second_fd, first, on_bytes):
        return False
    return first == second or _reads_alike(first_fd, second_fd, second, None)


def _reads_alike(
    first_fd: int, second_fd: int, extents: list[tuple[int, int]], on_bytes: Callable[[int], None] | None
) -> bool:
    for start, end in extents:
        position = start
        while position < end:
            length = min(_CHUNK_BYTES, end - position)
            with _reading():
                one = os.pread(first_fd, length, position)
            if one != os.pread(second_fd, length, position):
                return False
            if not one:
                break  # shorter than it was
            position += len(one)
            if on_bytes is not None:
                on_bytes(len(one))
    return True


def _copy_bytes(
    source_fd: int, destination_fd: int, start: int, end: int, on_bytes: Callable[[int], None] | None
) -> None:
    os.lseek(destination_fd, start, os.SEEK_SET)
    position = start
    while position < end:
        length = min(_CHUNK_BYTES, end - position)
        try:
            sent = os.sendfile(destination_fd, source_fd, position, length)
        except OSError:
            # sendfile(2) does not say which of the two it was.
            with _reading():
                read_whole(source_fd, memoryview(bytearray(length)), position)
            raise
        if sent == 0:
            return
        position += sent
        if on_bytes is not None:
            on_bytes(sent)


def _make_hole(fd: int, start: int, end: int) -> None:
    """Zeros in [start, end) of what the file already holds there; beyond its end nothing is needed."""
    end = min(end, os.fstat(fd).st_size)
    if start >= end:
        return
    try:
        punch_hole(fd, start, end - start)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        _write_zeros(fd, start, end)


def _write_zeros(fd: int, start: int, end: int) -> None:
    zeros = bytes(min(_CHUNK_BYTES, end - start))
    position = start
    while position < end:
        position += os.pwrite(fd, zeros[: end - position], position)
