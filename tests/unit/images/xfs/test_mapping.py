"""Extent trees, made by hand: right ones, and ones that lead back or branch without end."""

from __future__ import annotations

import struct
from time import monotonic

import pytest

from images.xfs.sources import ChangedSource
from twinfs.errors import ImageError
from twinfs.images.xfs.disk import Disk
from twinfs.images.xfs.extents import Extent
from twinfs.images.xfs.inode import Fork, Format
from twinfs.images.xfs.mapping import Mapping, leaf_cache
from twinfs.images.xfs.superblock import Superblock

BLOCK = 512
ROOM = (BLOCK - 24) // 16
SUPERBLOCK = Superblock(
    block_size=BLOCK, block_log=9, blocks=4000, free_blocks=0, uuid=bytes(16), metadata_uuid=bytes(16),
    label=b"", root_inode=0, has_checksums=False, group_blocks=1000, groups=4, group_log=10, inode_size=256,
    inodes_per_block_log=1,
    directory_block_size=BLOCK, sector_size=512, log_start=0, log_blocks=0,
    has_file_types=False, ignores_case=False, needs_repair=False, has_realtime=False,
)  # fmt: skip


def extent(first: int, start: int, count: int, *, unwritten: bool = False) -> bytes:
    return struct.pack(">QQ", unwritten << 63 | first << 9 | start >> 43, (start << 21 | count) % 2**64)


def branches(pairs: list[tuple[int, int]], room: int) -> bytes:
    keys = b"".join(struct.pack(">Q", key) for key, _ in pairs)
    return keys.ljust(room * 8, b"\0") + b"".join(struct.pack(">Q", child) for _, child in pairs)


def root(level: int, pairs: list[tuple[int, int]]) -> Fork:
    return Fork(Format.BTREE, 0, struct.pack(">HH", level, len(pairs)) + branches(pairs, 9).ljust(152, b"\0"))


def node(level: int, pairs: list[tuple[int, int]]) -> bytes:
    header = struct.pack(">4sHHqq", b"BMAP", level, len(pairs), -1, -1)
    return (header + branches(pairs, ROOM)).ljust(BLOCK, b"\0")


def leaf(*records: bytes) -> bytes:
    return (struct.pack(">4sHHqq", b"BMAP", 0, len(records), -1, -1) + b"".join(records)).ljust(BLOCK, b"\0")


def mapping(fork: Fork, blocks: dict[int, bytes] | None = None) -> Mapping:
    """Blocks are numbered from the start: all are in the first group here."""
    parts = {(number * BLOCK, BLOCK): data for number, data in (blocks or {}).items()}
    return Mapping(Disk(ChangedSource(parts, 4000 * BLOCK), SUPERBLOCK), leaf_cache(), 7, fork)


def inline(*records: bytes) -> Fork:
    return Fork(Format.EXTENTS, len(records), b"".join(records))


def test_extents_in_the_inode_are_found_by_block():
    found = mapping(inline(extent(0, 50, 10), extent(20, 2060, 5, unwritten=True)))
    assert list(found.overlapping(0, 100)) == [
        Extent(0, 10, 50 * BLOCK, False),
        Extent(20, 25, (2 * 1000 + 12) * BLOCK, True),
    ]
    assert [item.first for item in found.overlapping(9, 20)] == [0]
    assert [item.first for item in found.overlapping(10, 20)] == []
    assert [item.first for item in found.overlapping(24, 30)] == [20]


@pytest.mark.parametrize(
    "fork",
    [
        inline(extent(0, 50, 10), extent(9, 100, 1)),
        inline(extent(5, 50, 0)),
        inline(extent(0, 995, 10)),
        inline(extent(0, 1001, 1)),
        inline(extent(0, 5 << 10, 1)),
        inline(extent(0, (1 << 52) - 1, 1)),
        Fork(Format.EXTENTS, 2, extent(0, 50, 10)),
        Fork(Format.EXTENTS, 1 << 48, b""),
        Fork(Format.DEVICE, 0, bytes(100)),
        Fork(77, 0, bytes(100)),
        Fork(Format.BTREE, 0, b"\0\1"),
        Fork(Format.BTREE, 0, bytes(100)),
        Fork(Format.BTREE, 0, b"\xff" * 100),
        Fork(Format.BTREE, 0, b"\0\1\0\xff" + bytes(100)),
    ],
)
def test_impossible_extents_are_refused(fork):
    with pytest.raises(ImageError, match="xfs: "):
        list(mapping(fork).overlapping(0, 1 << 54))


def test_a_tree_of_several_levels_is_walked_where_it_must_be():
    blocks = {}
    pairs = []
    for inner in range(5):
        children = []
        for index in range(20):
            number = inner * 20 + index
            blocks[100 + number] = leaf(extent(number * 10, 500 + number, 1), extent(number * 10 + 5, 700, 1))
            children.append((number * 10, 100 + number))
        blocks[50 + inner] = node(1, children)
        pairs.append((inner * 200, 50 + inner))
    found = mapping(root(2, pairs), blocks)
    everything = list(found.overlapping(0, 1 << 54))
    assert [item.first for item in everything] == [number * 5 for number in range(200)]
    for block in range(1005):
        assert [item.first for item in found.overlapping(block, block + 1)] == [block] * (
            block % 5 == 0 and block < 1000
        )
    assert [item.first for item in found.overlapping(194, 211)] == [195, 200, 205, 210]


def shared_children(depth: int) -> tuple[Fork, dict[int, bytes]]:
    """Every node has many branches, all to the one node below: 30 ** depth ways down."""
    blocks = {
        10 + level: node(level, [(key, 10 + level - 1) for key in range(ROOM)]) for level in range(1, depth)
    }
    blocks[10] = leaf(extent(0, 500, 1))
    return root(depth, [(key, 10 + depth - 1) for key in range(9)]), blocks


def far_keys(depth: int) -> tuple[Fork, dict[int, bytes]]:
    """The same, with keys beyond what each branch may hold."""
    low = 1000
    blocks = {
        10 + level: node(level, [(low + key, 10 + level - 1) for key in range(ROOM)])
        for level in range(1, depth)
    }
    blocks[10] = leaf(extent(low, 500, 1))
    return root(depth, [(key, 10 + depth - 1) for key in range(9)]), blocks


@pytest.mark.parametrize("make", [shared_children, far_keys])
@pytest.mark.parametrize("depth", [2, 9, 16])
def test_trees_that_branch_without_end_are_refused_soon(make, depth):
    started = monotonic()
    with pytest.raises(ImageError, match="extent tree of inode 7 is damaged"):
        list(mapping(*make(depth)).overlapping(0, 1 << 54))
    assert monotonic() - started < 5


def test_a_tree_that_leads_back_to_itself_is_refused():
    blocks = {10: node(1, [(0, 10)])}
    with pytest.raises(ImageError, match="of level 1, not 0"):
        list(mapping(root(2, [(0, 10)]), blocks).overlapping(0, 100))


@pytest.mark.parametrize(
    "block", [bytes(BLOCK), node(1, []), leaf(), leaf(extent(50, 500, 9)), leaf(extent(0, 500, 11))]
)
def test_a_leaf_that_does_not_belong_there_is_refused(block):
    blocks = {10: block, 11: leaf(extent(10, 600, 1))}
    with pytest.raises(ImageError, match="xfs: "):
        list(mapping(root(1, [(0, 10), (10, 11)]), blocks).overlapping(0, 100))
