"""A small set of byte ranges, bounded: beyond the bound it rounds up to fewer, larger ones."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

BLOCK_BYTES: Final = 1024 * 1024
"""Ranges are rounded outwards to this, so that a stream of small writes is one range and few records."""

MAX_RANGES: Final = 256


class Ranges:
    """Disjoint, sorted, half-open ranges of bytes. An open end is `OPEN_END`."""

    OPEN_END: Final = 1 << 62
    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._starts, self._ends, strict=True)))

    def covers(self, start: int, end: int) -> bool:
        at = bisect_left(self._ends, end)
        return at < len(self._starts) and self._starts[at] <= start

    def add(self, start: int, end: int) -> None:
        """Add [start, end), merging what touches it."""
        first = bisect_left(self._ends, start)
        last = first
        while last < len(self._starts) and self._starts[last] <= end:
            start = min(start, self._starts[last])
            end = max(end, self._ends[last])
            last += 1
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]
        if len(self._starts) > MAX_RANGES:
            self._starts = [self._starts[0]]
            self._ends = [self._ends[-1]]

    def total_bytes(self, size: int) -> int:
        """How many bytes of a file of `size` bytes the ranges cover."""
        return sum(
            max(0, min(end, size) - start) for start, end in zip(self._starts, self._ends, strict=True)
        )


def rounded(start: int, end: int) -> tuple[int, int]:
    """[start, end) rounded outwards to whole blocks."""
    return start // BLOCK_BYTES * BLOCK_BYTES, -(-end // BLOCK_BYTES) * BLOCK_BYTES
