"""Blocks of a fork, for directories and attributes: contents found through the fork's extents."""

from __future__ import annotations

from collections.abc import Iterator

from twinfs.errors import ImageError
from twinfs.images.xfs.disk import Disk, Kind
from twinfs.images.xfs.mapping import Mapping


class ForkBlocks:
    """A fork of metadata, read in units of one or more of the file system's blocks.

    Raises ImageError where a unit is not mapped, not readable or not what it should be.
    """

    def __init__(self, disk: Disk, mapping: Mapping, owner: int, unit_bytes: int) -> None:
        self._disk = disk
        self._mapping = mapping
        self._block_log = disk.superblock.block_log
        self._unit_bytes = unit_bytes
        self.owner = owner
        self.unit_blocks = unit_bytes >> self._block_log

    def read(self, first: int, kind: Kind) -> bytes:
        """The unit that begins at the fork's block `first`, checked to be of a kind."""
        key = (self.owner, kind.name, first)
        block = self._disk.blocks.get(key)
        if block is None:
            pieces = self.pieces(first, self.unit_blocks, kind.name)
            block = self._disk.metadata(pieces, kind, self.owner)
            self._disk.blocks.put(key, block, len(block))
        return block

    def pieces(self, first: int, count: int, what: str) -> list[tuple[int, int]]:
        """(offset, length) in bytes on disk of `count` of the fork's blocks, adjacent ones together."""
        end = first + count
        pieces: list[tuple[int, int]] = []
        reached = first
        for extent in self._mapping.overlapping(first, end):
            if extent.first > reached or extent.is_unwritten:
                break
            stop = min(extent.end, end)
            offset = extent.offset_bytes + ((reached - extent.first) << self._block_log)
            length = (stop - reached) << self._block_log
            if pieces and sum(pieces[-1]) == offset:
                pieces[-1] = (pieces[-1][0], pieces[-1][1] + length)
            else:
                pieces.append((offset, length))
            reached = stop
        if reached < end:
            raise ImageError(f"xfs: inode {self.owner} is damaged: block {reached} of its {what} is missing")
        return pieces

    def units(self, end: int) -> Iterator[int]:
        """The first block of each unit before the fork's block `end` that is mapped, ascending."""
        following = 0
        for extent in self._mapping.overlapping(0, end):
            start = max(following, extent.first - extent.first % self.unit_blocks)
            for first in range(start, min(extent.end, end), self.unit_blocks):
                following = first + self.unit_blocks
                yield first
