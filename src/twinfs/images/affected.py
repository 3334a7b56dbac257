"""What of an image's files lies where the disk could not be read."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from twinfs.errors import ImageError
from twinfs.images import progress
from twinfs.images.damaged import Damaged
from twinfs.images.protocol import InodeStat
from twinfs.images.tree import ImageTree

_PIECE_BYTES = 64 * 1024


def unread_of(tree: ImageTree, damaged: Damaged, found: InodeStat) -> list[tuple[int, int]]:
    """(offset, length) within a regular file of what cannot be read, ascending, neighbours joined.

    By where its bytes lie, to the byte; a file that is compressed or kept in other structures is read
    instead, and what fails is rounded outwards to pieces of 64 KiB. Raises nothing.
    """
    if not stat.S_ISREG(found.mode) or found.size_bytes == 0:
        return []
    try:
        with damaged.showing_places():
            extents = tree.extents(found.inode)
    except ImageError:
        # Its map lies in the bad part itself.
        return [(0, found.size_bytes)]
    if extents is None:
        return list(_joined(_by_reading(tree, found)))
    return list(_joined(_by_place(damaged, extents, found.size_bytes)))


def _by_place(
    damaged: Damaged, extents: list[tuple[int, int, int]], size_bytes: int
) -> Iterator[tuple[int, int]]:
    for at, place, length in extents:
        for start, count in damaged.unread_within(place, min(length, size_bytes - at)):
            yield at + start - place, count


def _by_reading(tree: ImageTree, found: InodeStat) -> Iterator[tuple[int, int]]:
    for start in range(0, found.size_bytes, _PIECE_BYTES):
        length = min(_PIECE_BYTES, found.size_bytes - start)
        progress.advance()
        try:
            tree.read(found.inode, start, length)
        except ImageError:
            yield start, length


def _joined(ranges: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    begin = end = -1
    for start, length in ranges:
        if start != end:
            if begin >= 0:
                yield begin, end - begin
            begin = start
        end = start + length
    if begin >= 0:
        yield begin, end - begin
