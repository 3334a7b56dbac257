"""Where things are on an EROFS disk."""

from __future__ import annotations

import struct
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.probes.found import dashed, text
from twinfs.images.protocol import ByteSource

_AT: Final = 1024
_SUPERBLOCK: Final = struct.Struct("<4sIIBBHQQIIII16s16sIHHHBBIQ")
_MAGIC: Final = b"\xe2\xe1\xf5\xe0"
_ZERO_PADDED: Final = 0x1
_KNOWN: Final = 0x7F
"""Compression settings, chunks, devices, inline tails, fragments, long prefixes of attributes' names."""
INODE_SLOT: Final = 32


class Disk:
    """The source, and what the superblock says of it. Raises ImageError."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        raw = source.read_at(_AT, _SUPERBLOCK.size)
        if len(raw) < _SUPERBLOCK.size or raw[:4] != _MAGIC:
            raise ImageError("erofs: no superblock")
        fields = _SUPERBLOCK.unpack(raw)
        _, _, _, block_bits, _, root, _, seconds, nanoseconds, blocks, meta, shared = fields[:12]
        identifier, label, features = fields[12:15]
        self.block_bits: int = block_bits
        if not 9 <= self.block_bits <= 16:
            raise ImageError(f"erofs: blocks of 2^{self.block_bits} bytes make no sense")
        if features & ~_KNOWN:
            raise ImageError(f"erofs: it needs features that are not known here ({features & ~_KNOWN:#x})")
        if fields[18]:
            raise ImageError("erofs: its directories have blocks of their own size, which is not known here")
        self.uuid = dashed(identifier)
        self.label = text(label)
        self.root = root
        self.build_ns = seconds * 1_000_000_000 + nanoseconds
        self.size_bytes = blocks << self.block_bits
        self.shared_xattrs_bytes = shared << self.block_bits
        self._inodes_bytes: int = meta << self.block_bits
        self.is_zero_padded = bool(features & _ZERO_PADDED)
        """Whether compressed data end where their blocks do, after zeros; else they begin there."""

    @property
    def block_bytes(self) -> int:
        return 1 << self.block_bits

    def inode_bytes(self, number: int) -> int:
        return self._inodes_bytes + number * INODE_SLOT

    def read(self, offset_bytes: int, length: int, what: str) -> bytes:
        """All of it, or an ImageError that begins with `what`."""
        found = self.source.read_at(offset_bytes, length)
        if len(found) < length:
            raise ImageError(f"erofs: {what}: nothing at byte {offset_bytes}, behind the end of the image")
        return found
