"""Directory entries as they are written: within the inode, or in directory blocks.

Source: XFS Algorithms & Data Structures, "Shortform Directories", "Block Directories", "Leaf Directories".
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from typing import NamedTuple

from twinfs.errors import ImageError
from twinfs.images.xfs.disk import Kind

# Each magic number of version 4, then of version 5.
BLOCK_MAGICS = frozenset((b"XD2B", b"XDB3"))
DATA = Kind("directory block", 0, BLOCK_MAGICS | {b"XD2D", b"XDD3"}, 4, 8, 24, 40)
_HEADER_SIZE, _HEADER_SIZE_V5 = 16, 64
_TAIL = struct.Struct(">II")
_UNUSED = struct.Struct(">HH")
_UNUSED_TAG = 0xFFFF
_ENTRY = struct.Struct(">QB")
_TAG = struct.Struct(">H")
INDEX_ENTRY_SIZE = 8

TYPES = (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFLNK)
_WHITEOUT = 8


class Entry(NamedTuple):
    """A name, the inode it leads to, and S_IFMT bits: 0 where the directory does not say."""

    name: bytes
    inode: int
    file_type: int


def type_of(number: int) -> int:
    """S_IFMT bits for a file type as directories have it."""
    if number == _WHITEOUT:
        return stat.S_IFCHR
    return TYPES[number] if number < len(TYPES) else 0


def short_form(data: bytes, has_types: bool, what: str) -> Iterator[Entry]:
    """The entries within an inode; ".." is in the header, "." nowhere."""
    if len(data) < 6:
        raise ImageError(f"xfs: {what} is damaged: its directory has no header")
    count, big = data[0], data[1]
    number_size = 8 if big else 4
    at = 2 + number_size
    for _ in range(count):
        if at + 3 > len(data):
            raise ImageError(f"xfs: {what} is damaged: its directory entries do not fit")
        name_at = at + 3
        type_at = name_at + data[at]
        number_at = type_at + has_types
        at = number_at + number_size
        if at > len(data):
            raise ImageError(f"xfs: {what} is damaged: its directory entries do not fit")
        file_type = type_of(data[type_at]) if has_types else 0
        yield Entry(data[name_at:type_at], int.from_bytes(data[number_at:at], "big"), file_type)


def header_size(has_checksums: bool) -> int:
    return _HEADER_SIZE_V5 if has_checksums else _HEADER_SIZE


def index_of(block: bytes, what: str) -> tuple[int, int]:
    """Where the index at the end of a one-block directory begins in it, and how many entries that has."""
    count, _ = _TAIL.unpack_from(block, len(block) - _TAIL.size)
    start = len(block) - _TAIL.size - count * INDEX_ENTRY_SIZE
    if start < _HEADER_SIZE:
        raise ImageError(f"xfs: {what} is damaged: its index of {count} names does not fit")
    return start, int(count)


def in_block(block: bytes, has_checksums: bool, has_types: bool, what: str) -> Iterator[Entry]:
    """The entries of a directory block, with "." and "..", in the order they are written."""
    end = index_of(block, what)[0] if block[:4] in BLOCK_MAGICS else len(block)
    at = header_size(has_checksums)
    while at < end:
        if block[at] == 0xFF and block[at + 1] == 0xFF:
            _, length = _UNUSED.unpack_from(block, at)
            if not length or length % 8 or at + length > end:
                raise ImageError(f"xfs: {what} is damaged: unused space of {length} bytes at {at}")
            at += length
        else:
            entry, at = _entry(block, at, end, has_types, what)
            yield entry


def at_offset(block: bytes, at: int, has_types: bool, what: str) -> Entry:
    """The entry that the index says is at an offset within the block."""
    return _entry(block, at, len(block), has_types, what)[0]


def _entry(block: bytes, at: int, end: int, has_types: bool, what: str) -> tuple[Entry, int]:
    """An entry and where the next one begins. Each ends with its own offset, at a multiple of 8."""
    if at + _ENTRY.size <= end:
        inode, length = _ENTRY.unpack_from(block, at)
        name_end = at + 9 + length
        following = (name_end + has_types + 9) & ~7
        if length and following <= end and _TAG.unpack_from(block, following - 2)[0] == at:
            file_type = type_of(block[name_end]) if has_types else 0
            return Entry(block[at + 9 : name_end], inode, file_type), following
    raise ImageError(f"xfs: {what} is damaged: no entry where one should be, at {at}")
