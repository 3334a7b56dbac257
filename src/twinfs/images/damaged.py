"""A disk of which some was never read: ddrescue's map says what, and reading there is an error, not zeros."""

from __future__ import annotations

import contextlib
import os
import threading
from bisect import bisect_right
from collections.abc import Iterator

from twinfs.errors import ImageError
from twinfs.images.protocol import ByteSource
from twinfs.images.rescue_map import parse
from twinfs.words import count as plural


class Damaged:
    """`whole`, without what the map calls anything but finished. Positions are of the disk, as in the map."""

    def __init__(self, whole: ByteSource, map_path: str) -> None:
        """Raises ImageError where the map cannot be read, or is of a larger disk."""
        self._whole = whole
        self._map_path = map_path
        try:
            with open(map_path, "rb") as file:
                self._stamp = _stamp(os.fstat(file.fileno()))
                rescue_map = parse(file.read())
        except OSError as error:
            raise ImageError(f"{map_path}: {error.strerror}") from None
        except ImageError as error:
            raise ImageError(f"{map_path}: {error}") from None
        unread = [(start, min(end, whole.size_bytes)) for start, end in rescue_map.unfinished()]
        if rescue_map.size_bytes < whole.size_bytes:
            # What is behind the map's end was never asked for.
            unread.append((rescue_map.size_bytes, whole.size_bytes))
        self._unread = [(start, end) for start, end in unread if start < end]
        self._starts = [start for start, _ in self._unread]
        self._showing = threading.local()

    @property
    def size_bytes(self) -> int:
        return self._whole.size_bytes

    def has_changed(self) -> bool:
        """Whether the map was replaced: the rescue has gone on."""
        try:
            return _stamp(os.stat(self._map_path)) != self._stamp
        except OSError:
            return True

    def unread_within(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        """(offset, length) of what was not read of a range, ascending."""
        end = offset_bytes + length
        for start, stop in self._unread[max(0, bisect_right(self._starts, offset_bytes) - 1) :]:
            if start >= end:
                return
            first, last = max(start, offset_bytes), min(stop, end)
            if first < last:
                yield first, last - first

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        """Raises ImageError where any of it was not read."""
        for start, count in self.unread_within(offset_bytes, length):
            raise ImageError(
                f"{plural(count, 'byte')} at {start} of the disk could not be read; see {self._map_path}"
            )
        return self._whole.read_at(offset_bytes, length)

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        """What was not read is no hole, whatever the image has there."""
        ranges = [*self._whole.data_ranges(offset_bytes, length), *self.unread_within(offset_bytes, length)]
        begin = end = -1
        for start, count in sorted(ranges):
            if start > end:
                if begin >= 0:
                    yield begin, end - begin
                begin = start
            end = max(end, start + count)
        if begin >= 0:
            yield begin, end - begin

    @contextlib.contextmanager
    def showing_places(self) -> Iterator[None]:
        """Within it `physical` answers this thread, with places on the disk."""
        self._showing.now = True
        try:
            yield
        finally:
            self._showing.now = False

    def physical(self, offset_bytes: int, length: int) -> tuple[int, int] | None:
        """Nothing, as a rule: whoever reads the image file past us would get zeros for what is not there."""
        if not getattr(self._showing, "now", False):
            return None
        length = min(length, self.size_bytes - offset_bytes)
        return (offset_bytes, length) if length > 0 else None


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns
