"""Several windows end to end: the parts of a split image, the segments of a logical volume."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence

from twinfs.images.protocol import ByteSource


class JoinedSource:
    def __init__(self, parts: Sequence[ByteSource]) -> None:
        self._parts = tuple(parts)
        ends = list(itertools.accumulate(part.size_bytes for part in parts))
        self._starts = [0, *ends[:-1]]
        self._size = ends[-1] if ends else 0

    @property
    def size_bytes(self) -> int:
        return self._size

    def _pieces(self, offset_bytes: int, length: int) -> Iterator[tuple[ByteSource, int, int, int]]:
        """(part, its start here, offset within it, length), ascending."""
        end = min(offset_bytes + length, self._size)
        position = max(offset_bytes, 0)
        index = max(0, bisect.bisect_right(self._starts, position) - 1)
        while position < end:
            part, start = self._parts[index], self._starts[index]
            count = min(end, start + part.size_bytes) - position
            if count > 0:
                yield part, start, position - start, count
                position += count
            index += 1

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        pieces = [part.read_at(inner, count) for part, _, inner, count in self._pieces(offset_bytes, length)]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        for part, start, inner, count in self._pieces(offset_bytes, length):
            for found, found_count in part.data_ranges(inner, count):
                yield start + found, found_count
