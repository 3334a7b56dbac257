"""Files that are not compressed, as (offset in the file, offset on the disk, length); holes lie between."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.erofs.inode import Inode, Layout
from twinfs.images.erofs.superblock import Disk

_NO_BLOCK: Final = 0xFFFFFFFF
_CHUNK_BITS: Final = 0x1F
_HAS_INDEXES: Final = 0x20
_INDEX: Final = struct.Struct("<HHI")
_BATCH: Final = 1024


def pieces(disk: Disk, inode: Inode, offset_bytes: int, end_bytes: int) -> Iterator[tuple[int, int, int]]:
    """Of what lies between two offsets. Raises ImageError."""
    if inode.layout is Layout.CHUNKS:
        yield from _chunks(disk, inode, offset_bytes, end_bytes)
        return
    size, block = inode.stat.size_bytes, disk.block_bytes
    inline_at = size
    if inode.layout is Layout.INLINE:
        inline_at = max(0, size - 1) // block * block
        if inode.end_bytes % block + size - inline_at > block:
            raise ImageError(f"erofs: inode {inode.number}: its inline data reach into another block")
    start, stop = offset_bytes, min(end_bytes, inline_at)
    if start < stop:
        yield start, (inode.place << disk.block_bits) + start, stop - start
    start = max(offset_bytes, inline_at)
    if start < end_bytes:
        yield start, inode.end_bytes + start - inline_at, end_bytes - start


def _chunks(disk: Disk, inode: Inode, offset_bytes: int, end_bytes: int) -> Iterator[tuple[int, int, int]]:
    bits = disk.block_bits + (inode.place & _CHUNK_BITS)
    width = _INDEX.size if inode.place & _HAS_INDEXES else 4
    table = -(-inode.end_bytes // width) * width
    first = offset_bytes >> bits
    last = -(-end_bytes // (1 << bits))
    for batch in range(first, last, _BATCH):
        count = min(_BATCH, last - batch)
        raw = disk.read(table + batch * width, count * width, f"inode {inode.number}: its chunks")
        for number in range(batch, batch + count):
            block = _block_of(inode, raw, (number - batch) * width, width)
            start, stop = max(offset_bytes, number << bits), min(end_bytes, (number + 1) << bits)
            if block is not None:
                yield start, (block << disk.block_bits) + start - (number << bits), stop - start


def _block_of(inode: Inode, raw: bytes, at: int, width: int) -> int | None:
    """None: a hole."""
    device = 0
    if width == _INDEX.size:
        _, device, block = _INDEX.unpack_from(raw, at)
    else:
        (block,) = struct.unpack_from("<I", raw, at)
    if block == _NO_BLOCK:
        return None
    if device:
        raise ImageError(f"erofs: inode {inode.number}: its contents are on another device")
    return int(block)
