"""A fork's extents, in the inode or in a B+tree of blocks, found by block number.

Source: XFS Algorithms & Data Structures, "Extent List" and "B+tree Extent List".
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from twinfs.errors import ImageError
from twinfs.images.bounded_cache import BoundedCache
from twinfs.images.xfs import extents
from twinfs.images.xfs.disk import Disk, Kind
from twinfs.images.xfs.extents import Extent
from twinfs.images.xfs.inode import Fork, Format

_LAST_BLOCK = 1 << 54
_DEEPEST = 16
"""More levels than the largest file of the smallest blocks needs."""
_CACHED_EXTENTS = 1 << 17
_CACHED_NODES = 16
"""Of one fork: the inner blocks on the way to where it is being read."""
_ROOT_HEADER = struct.Struct(">HH")
_HEADER = struct.Struct(">4sHH")
_HEADER_SIZE, _HEADER_SIZE_V5 = 24, 72
_BLOCK = Kind("extent tree block", 0, frozenset((b"BMAP", b"BMA3")), 64, 24, 40, 56)


@dataclass(frozen=True, slots=True)
class _Node:
    """Children of an inner block: the first fork block each may hold, and their block numbers."""

    keys: tuple[int, ...]
    children: tuple[int, ...]


class Mapping:
    """The extents of one fork. Raises ImageError for what is damaged, and only there."""

    def __init__(self, disk: Disk, cache: LeafCache, owner: int, fork: Fork) -> None:
        self._disk = disk
        self._cache = cache
        self._owner = owner
        self._inline: tuple[Extent, ...] = ()
        self._root: _Node | None = None
        self._level = 0
        self._nodes: BoundedCache[int, _Node] = BoundedCache(_CACHED_NODES)
        what = f"inode {owner}"
        if fork.format == Format.EXTENTS:
            self._inline = extents.parse(disk.superblock, fork.data, fork.extents, what)
        elif fork.format == Format.BTREE:
            self._level, self._root = _parse_root(fork.data, what)
        else:
            raise ImageError(f"xfs: {what} is damaged: a fork of format {fork.format} has no extents")

    @property
    def inline_count(self) -> int:
        """How many extents it keeps in memory itself."""
        return len(self._inline)

    def overlapping(self, first: int, end: int) -> Iterator[Extent]:
        """The extents that hold any of the fork's blocks from `first` to before `end`, ascending."""
        if self._root is None:
            return extents.overlapping(self._inline, first, end)
        return self._below(self._root, self._level, (0, _LAST_BLOCK), (first, end))

    def _below(
        self, node: _Node, level: int, bounds: tuple[int, int], wanted: tuple[int, int]
    ) -> Iterator[Extent]:
        """What is wanted of the tree under a node that holds fork blocks within `bounds`, and no others.

        Each child's bounds are a part of its parent's that no other child has, so no block can be reached
        twice without breaking them: a tree with cycles ends in an ImageError.
        """
        first, end = wanted
        keys = node.keys
        start = max(bisect_right(keys, first) - 1, 0)
        for index in range(start, len(keys)):
            if index > start and keys[index] >= end:
                return
            low = keys[index]
            high = keys[index + 1] if index + 1 < len(keys) else bounds[1]
            if not bounds[0] <= low < high <= bounds[1]:
                raise self._damaged(f"its keys do not ascend at block {low}")
            child = node.children[index]
            if level == 1:
                yield from extents.overlapping(self._leaf(child, low, high), first, end)
            else:
                yield from self._below(self._node(child, level - 1, low), level - 1, (low, high), wanted)

    def _leaf(self, block: int, low: int, high: int) -> tuple[Extent, ...]:
        superblock = self._disk.superblock
        offset = superblock.block_offset(block)
        leaf = self._cache.get((self._owner, offset))
        if leaf is None:
            raw, count = self._block(offset, 0)
            what = f"{_BLOCK.name} at byte {offset}"
            leaf = extents.parse(superblock, raw[self._header_size :], count, what)
            self._cache.put((self._owner, offset), leaf, len(leaf))
        if leaf[0].first < low or leaf[-1].end > high:
            raise self._damaged(f"the block at byte {offset} holds what belongs in another")
        return leaf

    def _node(self, block: int, level: int, low: int) -> _Node:
        offset = self._disk.superblock.block_offset(block)
        node = self._nodes.get(offset)
        if node is None:
            raw, count = self._block(offset, level)
            node = _parse_node(raw[self._header_size :], count, f"{_BLOCK.name} at byte {offset}")
            self._nodes.put(offset, node)
        if node.keys[0] < low:
            raise self._damaged(f"the block at byte {offset} holds what belongs in another")
        return node

    def _block(self, offset: int, level: int) -> tuple[bytes, int]:
        """A block of the tree and how many records it says it has."""
        raw = self._disk.metadata([(offset, self._disk.superblock.block_size)], _BLOCK, self._owner)
        _, said, count = _HEADER.unpack_from(raw)
        if said != level or not count:
            raise self._damaged(f"the block at byte {offset} is of level {said}, not {level}, or empty")
        return raw, int(count)

    @property
    def _header_size(self) -> int:
        return _HEADER_SIZE_V5 if self._disk.superblock.has_checksums else _HEADER_SIZE

    def _damaged(self, why: str) -> ImageError:
        return ImageError(f"xfs: the extent tree of inode {self._owner} is damaged: {why}")


LeafCache = BoundedCache[tuple[int, int], tuple[Extent, ...]]


def leaf_cache() -> LeafCache:
    """For all mappings of one file system."""
    return BoundedCache(_CACHED_EXTENTS)


def _parse_root(data: bytes, what: str) -> tuple[int, _Node]:
    """The root in the inode, and its level: 1 when its children are leaves."""
    if len(data) < _ROOT_HEADER.size:
        raise ImageError(f"xfs: {what} is damaged: it has no room for its extent tree")
    level, count = _ROOT_HEADER.unpack_from(data)
    if not 1 <= level <= _DEEPEST or not count:
        raise ImageError(f"xfs: {what} is damaged: an extent tree of {level} levels and {count} branches")
    return level, _parse_node(data[_ROOT_HEADER.size :], count, what)


def _parse_node(data: bytes, count: int, what: str) -> _Node:
    """All keys that there is room for come first, then all block numbers."""
    room = len(data) // 16
    if count > room:
        raise ImageError(f"xfs: {what} is damaged: {count} branches where {room} fit")
    keys = struct.unpack_from(f">{count}Q", data)
    children = struct.unpack_from(f">{count}Q", data, room * 8)
    return _Node(keys, children)
