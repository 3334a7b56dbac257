"""Inodes: what stat(2) says of them, and where what they hold begins."""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.erofs.superblock import Disk
from twinfs.images.protocol import InodeStat

_COMPACT: Final = struct.Struct("<HHHHIIIIHHI")
_EXTENDED: Final = struct.Struct("<HHHHQIIIIQII16x")
_MAX_NUMBER: Final = 1 << 58
_XATTR_HEAD: Final = 12


class Layout(IntEnum):
    PLAIN = 0
    COMPRESSED_FULL = 1
    INLINE = 2
    """Plain, but the last part of a block lies behind the inode."""
    COMPRESSED_COMPACT = 3
    CHUNKS = 4


@dataclass(frozen=True, slots=True)
class Inode:
    number: int
    layout: Layout
    stat: InodeStat
    place: int
    """First block, format of the chunks, or number of compressed blocks: as the layout has it."""
    xattrs_bytes: int
    """Where its attributes begin."""
    xattrs_length: int

    @property
    def end_bytes(self) -> int:
        """Behind the inode and its attributes: inline data, chunks or indexes."""
        return self.xattrs_bytes + self.xattrs_length


def read(disk: Disk, number: int) -> Inode:
    """Raises ImageError."""
    if not 0 <= number < _MAX_NUMBER:
        raise ImageError(f"erofs: no inode can have the number {number}")
    at, what = disk.inode_bytes(number), f"inode {number}"
    raw = disk.read(at, _COMPACT.size, what)
    (form,) = struct.unpack_from("<H", raw)
    mtime = disk.build_ns
    if form & 1:
        raw = disk.read(at, _EXTENDED.size, what)
        fields = _EXTENDED.unpack(raw)
        _, xattr_count, mode, _, size, place, _, uid, gid, seconds, nanoseconds, links = fields
        mtime = _signed(seconds) * 1_000_000_000 + nanoseconds
    else:
        _, xattr_count, mode, links, size, _, place, _, uid, gid, _ = _COMPACT.unpack(raw)
    try:
        layout = Layout(form >> 1 & 7)
    except ValueError:
        raise ImageError(f"erofs: {what}: its layout is not known here") from None
    if size > 1 << 62 or stat.S_IFMT(mode) not in _KINDS:
        raise ImageError(f"erofs: {what} makes no sense")
    is_node = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
    is_empty = is_node or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
    size = 0 if is_empty else size
    blocks = place if layout in (Layout.COMPRESSED_FULL, Layout.COMPRESSED_COMPACT) else None
    found = InodeStat(
        inode=number,
        mode=mode,
        link_count=links,
        uid=uid,
        gid=gid,
        device=_device(place) if is_node else 0,
        size_bytes=size,
        blocks=-(-size // 512) if blocks is None else blocks << disk.block_bits >> 9,
        atime_ns=mtime,
        mtime_ns=mtime,
        ctime_ns=mtime,
    )
    start = at + (_EXTENDED.size if form & 1 else _COMPACT.size)
    length = _XATTR_HEAD + (xattr_count - 1) * 4 if xattr_count else 0
    return Inode(number, layout, found, place, start, length)


_KINDS: Final = (
    *(stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK),
    *(stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK),
)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _device(value: int) -> int:
    """As the kernel's new_decode_dev has it, in the form of st_rdev."""

    return os.makedev(value >> 8 & 0xFFF, value & 0xFF | value >> 12 & 0xFFF00)
