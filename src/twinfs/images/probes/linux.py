"""ext2/3/4, XFS, btrfs, squashfs, EROFS.

Sources: Documentation/filesystems/ext4/super.rst and /squashfs.rst of Linux; "XFS Algorithms & Data
Structures", superblocks; the btrfs on-disk format page, superblock; fs/erofs/erofs_fs.h.
"""

from __future__ import annotations

from typing import Final

from twinfs.images.probes.found import Found, dashed, field, text
from twinfs.images.protocol import ByteSource

_EXT_JOURNAL: Final = 0x4
_EXT_NEEDS_RECOVERY: Final = 0x4
_EXT_JOURNAL_DEVICE: Final = 0x8
_EXT_64BIT: Final = 0x80
_EXT4_INCOMPAT: Final = ~0x16
"""Beyond filetype, needs-recovery and meta_bg: no ext3 has these. As blkid judges."""
_EXT4_RO_COMPAT: Final = ~0x7


def ext(source: ByteSource) -> Found | None:
    block = source.read_at(1024, 1024)
    if len(block) < 1024 or block[0x38:0x3A] != b"\x53\xef":
        return None
    compat, incompat, ro_compat = field(source, "<III", 1024 + 0x5C)
    (_inodes, blocks, _reserved, free), (log_size,) = field(source, "<4I", 1024), field(source, "<I", 1048)
    if log_size > 6:
        return None
    if incompat & _EXT_64BIT:
        blocks_high, _, free_high = field(source, "<3I", 1024 + 0x150)
        blocks, free = blocks | blocks_high << 32, free | free_high << 32
    kind = "ext3" if compat & _EXT_JOURNAL else "ext2"
    if incompat & _EXT_JOURNAL_DEVICE:
        kind = "jbd"
    elif incompat & _EXT4_INCOMPAT or ro_compat & _EXT4_RO_COMPAT:
        kind = "ext4"
    size = 1024 << log_size
    is_dirty = bool(incompat & _EXT_NEEDS_RECOVERY)
    return Found(
        kind,
        text(block[0x78:0x88]),
        dashed(block[0x68:0x78]),
        blocks * size,
        free * size,
        ("the journal holds changes that were not replayed",) if is_dirty else (),
        is_file_system=kind != "jbd",
    )


def xfs(source: ByteSource) -> Found | None:
    block = source.read_at(0, 512)
    if block[:4] != b"XFSB" or len(block) < 512:
        return None
    size, total = field(source, ">IQ", 4)
    (free,) = field(source, ">Q", 144)
    (log_blocks,) = field(source, ">I", 96)
    return Found(
        "xfs", text(block[108:120]), dashed(block[32:48]), max(0, total - log_blocks) * size, free * size
    )


def btrfs(source: ByteSource) -> Found | None:
    block = source.read_at(0x10000, 0x1000)
    if block[0x40:0x48] != b"_BHRfS_M":
        return None
    total, used = field(source, "<QQ", 0x10000 + 0x70)
    label = text(block[0x12B : 0x12B + 256])
    return Found("btrfs", label, dashed(block[0x20:0x30]), total, max(0, total - used))


def squashfs(source: ByteSource) -> Found | None:
    if source.read_at(0, 4) != b"hsqs":
        return None
    (major,) = field(source, "<H", 28)
    (used,) = field(source, "<Q", 40)
    return Found("squashfs", total_bytes=used, free_bytes=0) if major == 4 else None


def erofs(source: ByteSource) -> Found | None:
    block = source.read_at(1024, 128)
    if block[:4] != b"\xe2\xe1\xf5\xe0" or len(block) < 128:
        return None
    (blocks,) = field(source, "<I", 1024 + 36)
    return Found(
        "erofs", text(block[64:80]), dashed(block[48:64]), blocks << min(block[12], 16), free_bytes=0
    )
