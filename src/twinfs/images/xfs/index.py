"""The index of a directory: from a name's hash to where its entry is.

At the end of the only block, in one leaf, or in a tree of leaves; they lie in the same fork as the entries,
from 32 GiB on. Source: XFS Algorithms & Data Structures, "Leaf Directories", "Node Directories" and
"Directory and Attribute B+trees".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from twinfs.errors import ImageError
from twinfs.images.xfs.blocks import ForkBlocks
from twinfs.images.xfs.disk import Kind

INDEX_BYTE = 1 << 35
"""Where the index begins in the fork; entries lie before."""
# Each magic number of version 4, then of version 5.
_NODE_MAGICS = frozenset((b"\xfe\xbe", b"\x3e\xbe"))
_LEAF_MAGICS = frozenset((b"\xd2\xf1", b"\x3d\xf1", b"\xd2\xff", b"\x3d\xff"))
_ATTRIBUTE_MAGICS = frozenset((b"\xfb\xee", b"\x3b\xee"))
DIRECTORY = Kind("directory index block", 8, _NODE_MAGICS | _LEAF_MAGICS, 12, 16, 32, 48)
ATTRIBUTES = Kind("attribute block", 8, _NODE_MAGICS | _ATTRIBUTE_MAGICS, 12, 16, 32, 48)
_COUNTS = struct.Struct(">HH")
_PAIR = struct.Struct(">II")
_DEEPEST = 5
"""XFS_DA_NODE_MAXDEPTH."""


def search_leaf(block: bytes, start: int, count: int, hash_value: int) -> Iterator[int]:
    """What stands beside each of the equal hashes, in pairs of 4 bytes sorted by hash."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if _PAIR.unpack_from(block, start + middle * 8)[0] < hash_value:
            low = middle + 1
        else:
            high = middle
    for index in range(low, count):
        found, value = _PAIR.unpack_from(block, start + index * 8)
        if found != hash_value:
            return
        yield value


def addresses(blocks: ForkBlocks, root: int, hash_value: int, has_checksums: bool) -> Iterator[int]:
    """The offsets in bytes of the entries whose names may have a hash; `root` is the index's first block."""
    number = _descend(blocks, root, DIRECTORY, has_checksums, hash_value)
    seen = set()
    # Names of one hash may go on in the next leaf: then this one ends with that hash.
    while number is not None and number not in seen:
        seen.add(number)
        block = blocks.read(number, DIRECTORY)
        count, start = leaf_bounds(block, has_checksums)
        for address in search_leaf(block, start, count, hash_value):
            if address:  # 0 marks an entry that was removed
                yield address * 8
        if not count or _PAIR.unpack_from(block, start + (count - 1) * 8)[0] != hash_value:
            return
        number = int.from_bytes(block[:4], "big") or None


def is_node(block: bytes) -> bool:
    return block[8:10] in _NODE_MAGICS


def leaf_bounds(block: bytes, has_checksums: bool) -> tuple[int, int]:
    """How many pairs a leaf of a directory has, and where the first one is."""
    if is_node(block):
        raise ImageError("xfs: a directory's index is damaged: a node where a leaf should be")
    count, _ = _COUNTS.unpack_from(block, 56 if has_checksums else 12)
    start = 64 if has_checksums else 16
    _check_count(block, start, count)
    return int(count), start


def node_pairs(block: bytes, has_checksums: bool) -> tuple[int, int, int]:
    """A node's level (1: its children are leaves), how many pairs it has, and where the first one is."""
    count, level = _COUNTS.unpack_from(block, 56 if has_checksums else 12)
    start = 64 if has_checksums else 16
    _check_count(block, start, count)
    return int(level), int(count), start


def first_leaf(blocks: ForkBlocks, kind: Kind, has_checksums: bool) -> int:
    """The leaf with the lowest hashes of a tree whose root is block 0."""
    return _descend(blocks, 0, kind, has_checksums, None) or 0


def _descend(
    blocks: ForkBlocks, number: int, kind: Kind, has_checksums: bool, hash_value: int | None
) -> int | None:
    """The leaf where a hash would be, or the first one; None: all hashes are lower."""
    above = _DEEPEST + 1
    block = blocks.read(number, kind)
    while is_node(block):
        level, count, start = node_pairs(block, has_checksums)
        if not 0 < level < above or not count:
            raise ImageError(f"xfs: inode {blocks.owner}: {kind.name} {number} is damaged: level {level}")
        above = level
        chosen = 0 if hash_value is None else _first_not_below(block, start, count, hash_value)
        if chosen == count:
            return None
        _, number = _PAIR.unpack_from(block, start + chosen * 8)
        block = blocks.read(number, kind)
    return number


def _first_not_below(block: bytes, start: int, count: int, hash_value: int) -> int:
    """A node's pairs hold the highest hash of each child."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if _PAIR.unpack_from(block, start + middle * 8)[0] < hash_value:
            low = middle + 1
        else:
            high = middle
    return low


def _check_count(block: bytes, start: int, count: int) -> None:
    if start + count * 8 > len(block):
        raise ImageError(f"xfs: an index block is damaged: {count} entries do not fit")
