"""Inodes: their core and the two forks behind it, for data and for attributes.

Source: XFS Algorithms & Data Structures, "On-disk Inode"; Linux, fs/xfs/libxfs/xfs_format.h for large extent
counts, nanosecond times since 1901 and their flags.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from enum import IntEnum

from twinfs.errors import ImageError
from twinfs.images.protocol import InodeStat
from twinfs.images.xfs.disk import Disk

_CORE = struct.Struct(">2sHBBHIIIHHQ8s8s8sQQIIHBBIHHI")
_CORE3_AT = 100
_CORE3 = struct.Struct(">IQQQI12s8sQ16s")
_SIZE_OF_CORE12, _SIZE_OF_CORE3 = 100, 176
_MAGIC = b"IN"
_CRC_AT = 100
_REALTIME = 0x1
_BIG_TIME, _BIG_COUNTS = 0x8, 0x10
_NS = 10**9
_BIG_TIME_EPOCH_NS = -(1 << 31) * _NS


class Format(IntEnum):
    """How a fork holds what it holds."""

    DEVICE = 0
    LOCAL = 1
    EXTENTS = 2
    BTREE = 3


@dataclass(frozen=True, slots=True)
class Fork:
    """One of an inode's forks: its bytes within the inode and how to read them."""

    format: int
    extents: int
    """How many extents it says it has."""
    data: bytes


@dataclass(frozen=True, slots=True)
class Inode:
    """An inode as it is on disk, taken apart."""

    number: int
    stat: InodeStat
    is_realtime: bool
    data: Fork
    attributes: Fork | None


def read(disk: Disk, number: int) -> Inode:
    """Raises ImageError where there is no inode, or a damaged one."""
    offset = disk.superblock.inode_offset(number)
    what = f"inode {number}"
    raw = disk.read(offset, disk.superblock.inode_size, what)
    where = f"{what} at byte {offset}"
    if raw[:2] != _MAGIC:
        raise ImageError(f"xfs: {where} is none: it is damaged or overwritten")
    if disk.superblock.has_checksums:
        disk.check_sum(raw, _CRC_AT, where)
    return _parse(disk, number, raw, where)


def _parse(disk: Disk, number: int, raw: bytes, where: str) -> Inode:
    (
        _, mode, version, data_format, links16, uid, gid, links, _, _, big_extents,
        atime, mtime, ctime, size, blocks, _, extents, attribute_extents, fork_offset, attribute_format,
        _, _, flags, _,
    ) = _CORE.unpack_from(raw)  # fmt: skip
    if (version == 3) != disk.superblock.has_checksums or version not in (1, 2, 3):
        raise ImageError(f"xfs: {where} is damaged: version {version}")
    if not stat.S_IFMT(mode):
        raise ImageError(f"xfs: {where} is not in use")
    if size >= 1 << 63:
        raise ImageError(f"xfs: {where} is damaged: a size of {size} bytes")
    flags2, birth, core_size = 0, None, _SIZE_OF_CORE12
    if version == 3:
        _, _, _, flags2, _, _, birth, said, uuid = _CORE3.unpack_from(raw, _CORE3_AT)
        if said != number or uuid != disk.superblock.metadata_uuid:
            raise ImageError(f"xfs: {where} is damaged: it is inode {said} of file system {uuid.hex()}")
        core_size = _SIZE_OF_CORE3
    if flags2 & _BIG_COUNTS:
        # The data fork's count is 64 bits in once unused space, the attributes' takes its old place.
        extents, attribute_extents = big_extents, extents
    literal = raw[core_size:]
    split = fork_offset * 8 if fork_offset else len(literal)
    if split > len(literal):
        raise ImageError(f"xfs: {where} is damaged: attributes begin {split} bytes into {len(literal)}")
    time = _big_time if flags2 & _BIG_TIME else _time
    seen = InodeStat(
        inode=number,
        mode=mode,
        link_count=links16 if version == 1 else links,
        uid=uid,
        gid=gid,
        device=_device(literal) if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else 0,
        size_bytes=size,
        blocks=blocks * (disk.superblock.block_size // 512),
        atime_ns=time(atime),
        mtime_ns=time(mtime),
        ctime_ns=time(ctime),
        birth_ns=None if birth is None else time(birth),
    )
    attributes = Fork(attribute_format, attribute_extents, literal[split:]) if fork_offset else None
    return Inode(
        number, seen, bool(flags & _REALTIME), Fork(data_format, extents, literal[:split]), attributes
    )


def _time(raw: bytes) -> int:
    """Seconds and nanoseconds since 1970, both signed 32 bits."""
    seconds, nanoseconds = struct.unpack(">ii", raw)
    return int(seconds) * _NS + int(nanoseconds)


def _big_time(raw: bytes) -> int:
    """Nanoseconds since December 1901, unsigned."""
    return int.from_bytes(raw, "big") + _BIG_TIME_EPOCH_NS


def _device(literal: bytes) -> int:
    """On disk as in System V: 14 bits of major number, 18 of minor number."""
    (number,) = struct.unpack_from(">I", literal)
    return os.makedev(number >> 18, number & 0x3FFFF)
