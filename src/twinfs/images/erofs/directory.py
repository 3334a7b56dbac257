"""Directories: blocks, each with its entries first and their names behind."""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable, Iterator
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.protocol import DirectoryEntry

_ENTRY: Final = struct.Struct("<QHBx")
_TYPES: Final = (
    *(0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFCHR),
    *(stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFLNK),
)
_MAX_BYTES: Final = 1 << 32


def entries(
    number: int, size: int, block_bytes: int, read: Callable[[int, int], bytes]
) -> Iterator[DirectoryEntry]:
    """`read` gives bytes of the directory. Raises ImageError, after what could be read of it."""
    if size > _MAX_BYTES:
        raise ImageError(f"erofs: directory {number} claims {size} bytes")
    for at in range(0, size, block_bytes):
        block = read(at, min(block_bytes, size - at))
        yield from _of_block(number, block)


def _of_block(number: int, block: bytes) -> Iterator[DirectoryEntry]:
    first = _ENTRY.unpack_from(block)[1] if len(block) >= _ENTRY.size else 0
    if first < _ENTRY.size or first % _ENTRY.size or first > len(block):
        raise ImageError(f"erofs: directory {number}: a block of it is damaged")
    for at in range(0, first, _ENTRY.size):
        inode, start, kind = _ENTRY.unpack_from(block, at)
        is_last = at + _ENTRY.size == first
        end = len(block) if is_last else _ENTRY.unpack_from(block, at + _ENTRY.size)[1]
        name = block[start:end]
        if is_last:
            name = name.split(b"\0", 1)[0]
        if name in (b".", b".."):
            continue
        if not first <= start < end <= len(block) or not name or b"/" in name or b"\0" in name:
            raise ImageError(f"erofs: directory {number}: a name in it is damaged")
        yield DirectoryEntry(name, inode, _TYPES[kind] if kind < len(_TYPES) else 0)
