"""The index of a compressed file: for each logical cluster, which compressed blocks it begins, or lies in."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.erofs.decompress import Algorithm
from twinfs.images.erofs.inode import Inode, Layout
from twinfs.images.erofs.superblock import Disk

_HEADER: Final = struct.Struct("<IHBB")
_FULL: Final = struct.Struct("<HHHH")
_COUNT_FLAG: Final = 1 << 11
_TWO_BYTES, _BIG_1, _BIG_2, _INLINE_TAIL, _INTERLACED, _FRAGMENT = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20
_WHOLE_FRAGMENT: Final = 0x80


class Kind(IntEnum):
    PLAIN = 0
    HEAD = 1
    NOT_HEAD = 2
    HEAD_2 = 3


@dataclass(frozen=True, slots=True)
class Cluster:
    kind: Kind
    offset_bytes: int = 0
    """Of a head: where in the cluster its data begin; before are those of the head before."""
    block: int = 0
    back: int = 0
    """Of others: how many clusters before lies the head, or one on the way to it."""
    count: int = 0
    """Of the first behind a head: how many compressed blocks that has; 0 where it does not say."""
    next_bytes: int = 0
    """Where the index goes on behind it, on the disk."""


class Index:
    def __init__(self, disk: Disk, inode: Inode) -> None:
        """Raises ImageError for what is damaged, or compressed in a way that is not known here."""
        self._disk = disk
        self._what = f"inode {inode.number}"
        start = -(-inode.end_bytes // 8) * 8
        head = disk.read(start, _HEADER.size, self._what)
        fragment, advise, algorithms, bits = _HEADER.unpack(head)
        if bits & _WHOLE_FRAGMENT or advise & _FRAGMENT:
            raise ImageError(f"erofs: {self._what} lies within a fragment, which is not read here")
        try:
            first, second = Algorithm(algorithms & 15), Algorithm(algorithms >> 4)
        except ValueError as error:
            raise ImageError(f"erofs: {self._what} is compressed in an unknown way ({error})") from None
        self.algorithms = {Kind.HEAD: first, Kind.HEAD_2: second}
        self.cluster_bits = disk.block_bits + (bits & 7)
        self.is_interlaced = bool(advise & _INTERLACED)
        self.inline_tail_bytes = fragment >> 16 if advise & _INLINE_TAIL else 0
        self.has_big_clusters = bool(advise & (_BIG_1 | _BIG_2))
        size = inode.stat.size_bytes
        self.total = -(-size // (1 << self.cluster_bits))
        self._is_full = inode.layout is Layout.COMPRESSED_FULL
        self._start = start + _HEADER.size + (8 if self._is_full else 0)
        self._first_four = 0
        self._two = 0
        if not self._is_full:
            if self.cluster_bits > 14:
                raise ImageError(f"erofs: {self._what}: clusters of 2^{self.cluster_bits} bytes")
            self._first_four = (32 - self._start % 32) // 4 % 8
            if advise & _TWO_BYTES and self._first_four < self.total:
                if self.cluster_bits > 12:
                    raise ImageError(f"erofs: {self._what}: its index makes no sense")
                self._two = (self.total - self._first_four) // 16 * 16

    def at(self, number: int) -> Cluster:
        """Raises ImageError."""
        if not 0 <= number < self.total:
            raise ImageError(f"erofs: {self._what}: its index leads to cluster {number}, which it has not")
        return self._full(number) if self._is_full else self._compact(number)

    def _full(self, number: int) -> Cluster:
        at = self._start + number * _FULL.size
        advise, offset, low, high = _FULL.unpack(self._disk.read(at, _FULL.size, self._what))
        kind, following = Kind(advise & 3), at + _FULL.size
        if kind is not Kind.NOT_HEAD:
            return Cluster(kind, offset, low | high << 16, next_bytes=following)
        if self.has_big_clusters and low & _COUNT_FLAG:
            return Cluster(kind, back=1, count=low & ~_COUNT_FLAG, next_bytes=following)
        return Cluster(kind, back=low, next_bytes=following)

    def _compact(self, number: int) -> Cluster:
        at, width, rest = self._start, 4, number
        if rest >= self._first_four:
            at, rest = at + 4 * self._first_four, rest - self._first_four
            if rest < self._two:
                width = 2
            else:
                at, rest = at + 2 * self._two, rest - self._two
        at += rest * width
        return self._unpack(at, width)

    def _unpack(self, at: int, width: int) -> Cluster:
        """Packs of two or sixteen entries share the number of a block, at their end."""
        count = 2 if width == 4 else 16
        pack_bytes = count * width
        base = at // pack_bytes * pack_bytes
        raw = self._disk.read(base, pack_bytes, self._what)
        low_bits = max(self.cluster_bits, 12)
        step = (pack_bytes - 4) * 8 // count
        packed = int.from_bytes(raw[:-4], "little")

        def entry(place: int) -> tuple[Kind, int]:
            value = packed >> step * place
            return Kind(value >> low_bits & 3), value & (1 << low_bits) - 1

        place, following = (at - base) // width, base + pack_bytes
        kind, low = entry(place)
        if kind is Kind.NOT_HEAD:
            if self.has_big_clusters and low & _COUNT_FLAG:
                return Cluster(kind, back=1, count=low & ~_COUNT_FLAG, next_bytes=following)
            if place + 1 == count:
                # The last of a pack says how far it is to the next head instead.
                before, low = entry(place - 1)
                low = 0 if before is not Kind.NOT_HEAD else 1 if low & _COUNT_FLAG else low
                low += 1
            return Cluster(kind, back=low, next_bytes=following)
        blocks = self._blocks_before(entry, place)
        (first,) = struct.unpack("<I", raw[-4:])
        return Cluster(kind, low, first + blocks & 0xFFFFFFFF, next_bytes=following)

    def _blocks_before(self, entry: Callable[[int], tuple[Kind, int]], place: int) -> int:
        """How many compressed blocks the entries of a pack before this one have."""
        blocks = 0 if self.has_big_clusters else 1
        while place > 0:
            place -= 1
            kind, low = entry(place)
            if kind is not Kind.NOT_HEAD:
                blocks += 1
            elif not self.has_big_clusters:
                place -= low
                blocks += place >= 0
            elif low & _COUNT_FLAG:
                place -= 1
                blocks += low & ~_COUNT_FLAG
            elif low <= 1:
                raise ImageError(f"erofs: {self._what}: its index is damaged")
            else:
                place -= low - 2
        return blocks
