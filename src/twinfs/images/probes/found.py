"""What a look at a file system's first blocks tells."""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass

from twinfs.images.protocol import ByteSource


@dataclass(frozen=True, slots=True)
class Found:
    kind: str
    """As blkid names it."""
    label: str = ""
    uuid: str = ""
    """As blkid prints it."""
    total_bytes: int = 0
    free_bytes: int | None = None
    """None: not to be had from the superblock."""
    warnings: tuple[str, ...] = ()
    is_file_system: bool = True
    """Else a member of something larger: swap, LVM, LUKS, RAID."""
    volumes: int = 1
    """File systems that share its blocks: APFS has several."""


def field(source: ByteSource, layout: str, offset_bytes: int) -> tuple[int, ...]:
    """Numbers at an offset; zeros where the source ends before."""
    size = struct.calcsize(layout)
    return struct.unpack(layout, source.read_at(offset_bytes, size).ljust(size, b"\0"))


def text(raw: bytes, encoding: str = "utf-8") -> str:
    """Up to the first NUL, without the spaces that fill it up."""
    return raw.decode(encoding, "replace").split("\0", 1)[0].rstrip(" ")


def dashed(raw: bytes) -> str:
    return "" if raw.strip(b"\0") == b"" else str(uuid.UUID(bytes=raw))
