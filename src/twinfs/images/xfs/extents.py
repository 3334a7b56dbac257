"""Extents: which blocks of a fork lie where on disk.

Source: XFS Algorithms & Data Structures, "Data Extents".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from twinfs.errors import ImageError
from twinfs.images.xfs.superblock import Superblock

RECORD_SIZE = 16
_COUNT_MASK = (1 << 21) - 1
_START_MASK = (1 << 54) - 1


class Extent(NamedTuple):
    """Blocks of a fork, from `first` to before `end`, and where on disk they begin, in bytes."""

    first: int
    end: int
    offset_bytes: int
    is_unwritten: bool
    """Reserved, never written: reads as zeros."""


def parse(superblock: Superblock, data: bytes, count: int, what: str) -> tuple[Extent, ...]:
    """The first `count` records of `data`, each 16 bytes: unwritten 1 bit, first 54, start 52, count 21.

    Raises ImageError where `what` they belong to has too few bytes, or they overlap or lie outside.
    """
    if count * RECORD_SIZE > len(data):
        raise ImageError(f"xfs: {what} is damaged: {count} extents in {len(data)} bytes")
    numbers = _format(2 * count).unpack_from(data)
    extents = []
    behind = 0
    for high, low in zip(numbers[::2], numbers[1::2], strict=True):
        first = high >> 9 & _START_MASK
        blocks = low & _COUNT_MASK
        if first < behind or not blocks:
            raise ImageError(f"xfs: {what} is damaged: its extents overlap at block {first}")
        behind = first + blocks
        offset = superblock.block_offset((high & 0x1FF) << 43 | low >> 21, blocks)
        extents.append(Extent(first, behind, offset, high >> 63 == 1))
    return tuple(extents)


def overlapping(extents: tuple[Extent, ...], first: int, end: int) -> Iterator[Extent]:
    """Those of ascending extents that hold any of the blocks from `first` to before `end`."""
    low, high = 0, len(extents)
    while low < high:
        middle = (low + high) // 2
        if extents[middle].end <= first:
            low = middle + 1
        else:
            high = middle
    for index in range(low, len(extents)):
        if extents[index].first >= end:
            return
        yield extents[index]


@cache
def _format(words: int) -> struct.Struct:
    return struct.Struct(f">{words}Q")
