"""Compressed files: extents of the file, each of some compressed blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.erofs import lz4
from twinfs.images.erofs.decompress import Algorithm, decompressed
from twinfs.images.erofs.indexes import Cluster, Index, Kind
from twinfs.images.erofs.inode import Inode
from twinfs.images.erofs.superblock import Disk

_MAX_EXTENT_BYTES: Final = 12 << 20
"""As the kernel has it: Z_EROFS_PCLUSTER_MAX_DSIZE."""
_MAX_BLOCKS: Final = 1 << 8
"""Z_EROFS_PCLUSTER_MAX_SIZE is 1 MiB."""


@dataclass(frozen=True, slots=True)
class Extent:
    start: int
    end: int
    algorithm: Algorithm | None
    """None: it is not compressed."""
    place_bytes: int
    stored_bytes: int


class CompressedFile:
    def __init__(self, disk: Disk, inode: Inode) -> None:
        """Raises ImageError."""
        self._disk = disk
        self._what = f"inode {inode.number}"
        self._size = inode.stat.size_bytes
        self._index = Index(disk, inode)
        self._bits = self._index.cluster_bits
        self._tail = -1
        if self._index.inline_tail_bytes and self._index.total:
            self._tail = self._head_before(self._size - 1)[0]

    def extent_at(self, offset_bytes: int) -> Extent:
        """The one that a byte of the file lies in. Raises ImageError."""
        number, head = self._head_before(offset_bytes)
        start = (number << self._bits) + head.offset_bytes
        end, blocks = self._end_of(number)
        if not start <= offset_bytes < end or end - start > _MAX_EXTENT_BYTES:
            raise ImageError(f"erofs: {self._what}: its index is damaged at byte {offset_bytes}")
        algorithm = self._index.algorithms.get(head.kind)
        if number == self._tail:
            last = self._index.at(self._index.total - 1)
            return Extent(start, end, algorithm, last.next_bytes, self._index.inline_tail_bytes)
        place = head.block << self._disk.block_bits
        return Extent(start, end, algorithm, place, blocks << self._disk.block_bits)

    def _head_before(self, offset_bytes: int) -> tuple[int, Cluster]:
        number = offset_bytes >> self._bits
        found = self._index.at(number)
        if found.kind is not Kind.NOT_HEAD:
            if found.offset_bytes <= offset_bytes & (1 << self._bits) - 1:
                return number, found
            number -= 1
            found = self._index.at(number)
        while found.kind is Kind.NOT_HEAD:
            if not found.back:
                raise ImageError(f"erofs: {self._what}: its index goes round in a circle")
            number -= found.back
            found = self._index.at(number)
        return number, found

    def _end_of(self, number: int) -> tuple[int, int]:
        """Where the extent of a head ends, and how many compressed blocks it has."""
        blocks, last = 1, min(self._index.total, number + 2 + (_MAX_EXTENT_BYTES >> self._bits))
        for following in range(number + 1, last):
            found = self._index.at(following)
            if found.kind is not Kind.NOT_HEAD:
                return min(self._size, (following << self._bits) + found.offset_bytes), blocks
            if following == number + 1 and found.count:
                blocks = found.count
        if last < self._index.total:
            raise ImageError(f"erofs: {self._what}: an extent of it has no end")
        return self._size, blocks

    def data_of(self, extent: Extent) -> bytes:
        """Raises ImageError."""
        disk, wanted = self._disk, extent.end - extent.start
        if extent.stored_bytes > _MAX_BLOCKS << disk.block_bits:
            raise ImageError(f"erofs: {self._what}: {extent.stored_bytes} compressed bytes make no sense")
        raw = disk.read(extent.place_bytes, extent.stored_bytes, self._what)
        if extent.algorithm is None:
            if self._index.is_interlaced and len(raw) == disk.block_bytes:
                shift = extent.start % disk.block_bytes
                raw = raw[shift:] + raw[:shift]
            found = raw[:wanted]
        elif disk.is_zero_padded:
            found = decompressed(extent.algorithm, raw, wanted)
        elif extent.algorithm is Algorithm.LZ4:
            found = lz4.beginning(raw, wanted)
        else:
            raise ImageError(f"erofs: {self._what}: {extent.algorithm.name} without padding makes no sense")
        if len(found) != wanted:
            raise ImageError(f"erofs: {self._what}: its data at byte {extent.start} are damaged")
        return found
