"""Targets of symbolic links: within the inode, or in blocks of their own.

Source: XFS Algorithms & Data Structures, "Symbolic Links".
"""

from __future__ import annotations

import struct

from twinfs.errors import ImageError
from twinfs.images.xfs.disk import Disk, Kind
from twinfs.images.xfs.inode import Format, Inode
from twinfs.images.xfs.mapping import Mapping

_LONGEST = 1024
_MOST_BLOCKS = 4
"""The smallest, with headers, hold the longest target in fewer."""
_KIND = Kind("symbolic link", 0, frozenset((b"XSLM",)), 12, 40, 16, 32)
_HEADER = struct.Struct(">4sII")
_HEADER_SIZE = 56


def target(disk: Disk, inode: Inode, mapping: Mapping | None) -> bytes:
    """Where a symbolic link leads. `mapping` is that of its data fork. Raises ImageError."""
    length = inode.stat.size_bytes
    what = f"symbolic link, inode {inode.number},"
    if not 0 < length <= _LONGEST:
        raise ImageError(f"xfs: {what} is damaged: {length} bytes long")
    if inode.data.format == Format.LOCAL:
        found = inode.data.data[:length]
    else:
        assert mapping is not None
        found = _remote(disk, inode.number, mapping, length)
    if len(found) != length or b"\0" in found:
        raise ImageError(f"xfs: {what} is damaged: its target is cut off")
    return found


def _remote(disk: Disk, number: int, mapping: Mapping, length: int) -> bytes:
    """In version 5 each extent begins with a header that says which part of the target follows."""
    superblock = disk.superblock
    found = b""
    for extent in mapping.overlapping(0, _MOST_BLOCKS):
        count = extent.end - extent.first
        if count > _MOST_BLOCKS:
            raise ImageError(f"xfs: symbolic link, inode {number}, is damaged: {count} blocks long")
        size = count << superblock.block_log
        if not superblock.has_checksums:
            found += disk.read(extent.offset_bytes, size, _KIND.name)
            continue
        raw = disk.metadata([(extent.offset_bytes, size)], _KIND, number)
        _, offset, length_here = _HEADER.unpack_from(raw)
        if offset != len(found):
            raise ImageError(f"xfs: symbolic link, inode {number}, is damaged: its parts do not follow")
        found += raw[_HEADER_SIZE : _HEADER_SIZE + length_here]
    return found[:length]
