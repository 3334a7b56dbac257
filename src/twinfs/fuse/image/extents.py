"""Where a file's bytes lie in the image file, so that reading them is no more than copying."""

from __future__ import annotations

import bisect
import errno
import os
from collections.abc import Iterator, Sequence
from typing import Final

import trio

from twinfs.errors import ImageError

_NOWAIT: Final = os.RWF_NOWAIT


class ExtentMap:
    """A file of `size_bytes` whose parts lie at known places of an open image; the rest is zeros."""

    def __init__(self, image_fd: int, size_bytes: int, extents: Sequence[Sequence[int]]) -> None:
        self._fd = image_fd
        self._size = size_bytes
        self._extents = extents
        self._starts = [extent[0] for extent in extents]

    async def read(self, offset_bytes: int, length: int) -> bytes:
        """Raises ImageError where the image has become shorter than its file system believes."""
        length = max(0, min(length, self._size - offset_bytes))
        found = bytearray(length)
        view = memoryview(found)
        for at, place, count in self._pieces(offset_bytes, length):
            await self._fill(view[at : at + count], place)
        # Any buffer does for pyfuse3: making bytes of it would be one more copy.
        return found  # type: ignore[return-value]

    def _pieces(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int, int]]:
        """(place in the answer, place in the image, length) of what is not zeros."""
        end = offset_bytes + length
        index = max(0, bisect.bisect_right(self._starts, offset_bytes) - 1)
        for start, place, count in self._extents[index:] if length else ():
            first, last = max(start, offset_bytes), min(start + count, end)
            if start >= end:
                return
            if first < last:
                yield first - offset_bytes, place + first - start, last - first

    async def _fill(self, view: memoryview, place: int) -> None:
        while view:
            count = self._read_cached(view, place)
            if count is None:
                count = await trio.to_thread.run_sync(os.preadv, self._fd, [view], place)
            if count == 0:
                raise ImageError(f"the image ends before byte {place}")
            view = view[count:]
            place += count

    def _read_cached(self, view: memoryview, place: int) -> int | None:
        """What the page cache has, at once; None where it would have to be waited for. See preadv2(2)."""
        try:
            return os.preadv(self._fd, [view], place, _NOWAIT)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
                return None
            raise


def reopened(path: str, old_fd: int) -> int:
    """The file that is there now, under the old number: maps that still exist read from it."""
    new_fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        os.dup2(new_fd, old_fd, inheritable=False)
    finally:
        os.close(new_fd)
    return old_fd
