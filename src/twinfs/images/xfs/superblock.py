"""The superblock: sizes, features and where things are.

Source: XFS Algorithms & Data Structures, "Superblocks"; Linux, fs/xfs/libxfs/xfs_format.h for the features.
All numbers on disk are big-endian but checksums.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from twinfs.errors import ImageError
from twinfs.images.xfs.crc32c import crc32c

MAGIC = b"XFSB"
SMALLEST, LARGEST_SECTOR = 512, 32 << 10
"""Bytes that hold every field, and bytes that the checksum may cover."""
_FIELDS = struct.Struct(">4sIQQQ16sQQQQIIIIIHHHH12s8B4QQQHBBIIIBBHIIIIIIIIIQQ16s")
_CRC_AT = 224
_SMALLEST_V5_BLOCK = 1024

_VERSION_MASK = 0x000F
_DIRECTORIES2, _CASE, _MORE = 0x2000, 0x4000, 0x8000
_FILE_TYPES2 = 0x200
_KNOWN2 = 0x39F
"""features2 of version 4: lazy counts, attr2, parent pointers, 32-bit project numbers, file types."""
_FILE_TYPES, _META_UUID, _NEEDS_REPAIR = 0x1, 0x4, 0x10
_KNOWN_INCOMPATIBLE = 0x7FF
"""Of version 5, to zoned devices (Linux 6.15). Realtime and metadata files are refused by their inodes."""


@dataclass(frozen=True, slots=True)
class Superblock:
    """What a reader needs of it. Block numbers and counts are of the file system's blocks."""

    block_size: int
    block_log: int
    blocks: int
    free_blocks: int
    uuid: bytes
    metadata_uuid: bytes
    """Which version 5 stamps on metadata; differs from `uuid` once that was changed."""
    label: bytes
    root_inode: int
    group_blocks: int
    groups: int
    group_log: int
    """Bits of a block number that count blocks within an allocation group."""
    inode_size: int
    inodes_per_block_log: int
    directory_block_size: int
    sector_size: int
    log_start: int
    """Block number; 0: the log is on another device."""
    log_blocks: int
    has_checksums: bool
    """Version 5."""
    has_file_types: bool
    ignores_case: bool
    needs_repair: bool
    has_realtime: bool

    @property
    def size_bytes(self) -> int:
        return self.blocks << self.block_log

    def block_offset(self, block: int, count: int = 1) -> int:
        """Where `count` blocks begin in bytes, by the first one's number: group, then block within it.

        Raises ImageError where they are not all within one group.
        """
        group, within = block >> self.group_log, block & ((1 << self.group_log) - 1)
        first = group * self.group_blocks + within
        if group >= self.groups or within + count > self.group_blocks or first + count > self.blocks:
            raise ImageError(f"xfs: blocks {block} to {block + count - 1} lie outside the file system")
        return first << self.block_log

    def inode_offset(self, inode: int) -> int:
        """Where an inode begins in bytes. Raises ImageError where that is outside."""
        block, slot = inode >> self.inodes_per_block_log, inode & ((1 << self.inodes_per_block_log) - 1)
        try:
            return self.block_offset(block) + slot * self.inode_size
        except ImageError:
            raise ImageError(f"xfs: inode {inode} lies outside the file system") from None


def parse(sector: bytes) -> Superblock:
    """The superblock in the first sector, which begins with MAGIC and holds at least SMALLEST bytes.

    Raises ImageError for what is damaged, or of a version that is not read.
    """
    (
        _, block_size, blocks, realtime_blocks, _, uuid, log_start, root_inode, _, _,
        _, group_blocks, groups, _, log_blocks, version, sector_size, inode_size, _, label,
        block_log, sector_log, inode_log, per_block_log, group_log, _, in_progress, _,
        _, _, free_blocks, _, _, _, _, _, _, _, _, _, directory_log, _, _, _, features2, bad_features2,
        _, _, incompatible, _, _, _, _, _, metadata_uuid,
    ) = _FIELDS.unpack_from(sector)  # fmt: skip
    _check_version(version)
    if version & _MORE:
        # Some old kernels wrote the field 4 bytes further on; whatever is set in either one counts.
        features2 |= bad_features2
    else:
        features2 = 0
    has_checksums = version & _VERSION_MASK == 5
    _check_features(has_checksums, features2, incompatible)
    _check_sizes(block_size, block_log, sector_size, sector_log, inode_size, inode_log, directory_log)
    if has_checksums:
        _check_sum(sector, sector_size, block_size, inode_size)
    _check_groups(blocks, groups, group_blocks, group_log, block_log, inode_log, per_block_log)
    if in_progress:
        raise ImageError("xfs: mkfs.xfs was interrupted: the file system was never finished")
    return Superblock(
        block_size=block_size,
        block_log=block_log,
        blocks=blocks,
        free_blocks=min(free_blocks, blocks),
        uuid=uuid,
        metadata_uuid=metadata_uuid if has_checksums and incompatible & _META_UUID else uuid,
        label=label.partition(b"\0")[0],
        root_inode=root_inode,
        group_blocks=group_blocks,
        groups=groups,
        group_log=group_log,
        inode_size=inode_size,
        inodes_per_block_log=per_block_log,
        directory_block_size=block_size << directory_log,
        sector_size=sector_size,
        log_start=log_start,
        log_blocks=log_blocks,
        has_checksums=has_checksums,
        has_file_types=bool(incompatible & _FILE_TYPES if has_checksums else features2 & _FILE_TYPES2),
        ignores_case=bool(version & _CASE),
        needs_repair=bool(has_checksums and incompatible & _NEEDS_REPAIR),
        has_realtime=realtime_blocks != 0,
    )


def _check_version(version: int) -> None:
    number = version & _VERSION_MASK
    if number not in (4, 5):
        raise ImageError(f"xfs: superblock of version {number}; versions 4 and 5 can be read")
    if not version & _DIRECTORIES2:
        raise ImageError("xfs: directories of version 1, of IRIX, cannot be read")


def _check_features(has_checksums: bool, features2: int, incompatible: int) -> None:
    if has_checksums:
        unknown = incompatible & ~_KNOWN_INCOMPATIBLE
        if unknown:
            raise ImageError(f"xfs: has features newer than this reader (incompatible bits {unknown:#x})")
    elif features2 & ~_KNOWN2:
        raise ImageError(f"xfs: has features unknown to this reader (bits {features2 & ~_KNOWN2:#x})")


def _check_sizes(
    block_size: int,
    block_log: int,
    sector_size: int,
    sector_log: int,
    inode_size: int,
    inode_log: int,
    directory_log: int,
) -> None:
    """Each as a size and its logarithm, but the directory block's, which has only the latter."""
    checks = (
        ("block", block_size, block_log, 9, 16),
        ("sector", sector_size, sector_log, 9, 15),
        ("inode", inode_size, inode_log, 8, 11),
    )
    for name, size, log, smallest, largest in checks:
        if not smallest <= log <= largest or size != 1 << log:
            raise ImageError(f"xfs: superblock is damaged: {name}s of {size} bytes (2^{log})")
    if block_log + directory_log > 16:
        raise ImageError(
            f"xfs: superblock is damaged: directory blocks of 2^{block_log + directory_log} bytes"
        )


def _check_sum(sector: bytes, sector_size: int, block_size: int, inode_size: int) -> None:
    if len(sector) < sector_size or block_size < _SMALLEST_V5_BLOCK or inode_size < 512:
        raise ImageError("xfs: superblock is damaged: its sizes do not fit version 5")
    (stored,) = struct.unpack_from("<I", sector, _CRC_AT)
    if stored != crc32c(sector[:_CRC_AT] + bytes(4) + sector[_CRC_AT + 4 : sector_size]):
        raise ImageError("xfs: superblock at byte 0 has a wrong checksum: it is damaged")


def _check_groups(
    blocks: int,
    groups: int,
    group_blocks: int,
    group_log: int,
    block_log: int,
    inode_log: int,
    per_block_log: int,
) -> None:
    fits_log = 0 < group_log < 32 and 1 << (group_log - 1) < group_blocks <= 1 << group_log
    if not fits_log or not groups or not (groups - 1) * group_blocks < blocks <= groups * group_blocks:
        raise ImageError(
            f"xfs: superblock is damaged: {blocks} blocks, {groups} groups of {group_blocks} (2^{group_log})"
        )
    if per_block_log != block_log - inode_log or blocks << block_log >= 1 << 63:
        raise ImageError("xfs: superblock is damaged: its sizes contradict each other")
