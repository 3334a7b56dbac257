"""What is recognised and not read: swap, members of RAIDs and volume groups, file systems of others.

Source of the signatures: the tables of libblkid (util-linux) and file(1).
"""

from __future__ import annotations

import itertools
from typing import Final

from twinfs.images.probes.found import Found, dashed, text
from twinfs.images.protocol import ByteSource

_PAGE_SIZES: Final = (4096, 8192, 16384, 65536)
_SIGNATURES: Final = (
    ("f2fs", 1024, b"\x10\x20\xf5\xf2", True),
    ("jfs", 32768, b"JFS1", True),
    ("reiserfs", 0x10034, b"ReIsEr2Fs", True),
    ("reiserfs", 0x10034, b"ReIsEr3Fs", True),
    ("reiserfs", 0x10034, b"ReIsErFs", True),
    ("nilfs2", 1030, b"\x34\x34", True),
    ("cramfs", 0, b"\x45\x3d\xcd\x28", True),
    ("romfs", 0, b"-rom1fs-", True),
    ("bcachefs", 4120, bytes.fromhex("c68573f66690482ebc9e63b6f6fe6e50"), True),
    ("bcachefs", 4120, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"), True),
    ("bcache", 4120, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"), False),
    ("ufs", 8192 + 1372, b"\x54\x19\x01\x00", True),
    ("ufs", 65536 + 1372, b"\x19\x01\x54\x19", True),
    ("BitLocker", 3, b"-FVE-FS-", False),
    ("linux_raid_member", 4096, b"\xfc\x4e\x2b\xa9", False),
    ("linux_raid_member", 0, b"\xfc\x4e\x2b\xa9", False),
    ("minix", 1040, b"\x7f\x13", True),
    ("minix", 1040, b"\x8f\x13", True),
)


def swap(source: ByteSource) -> Found | None:
    for size in _PAGE_SIZES:
        if source.read_at(size - 10, 10) in (b"SWAPSPACE2", b"SWAP-SPACE"):
            header = source.read_at(1024, 64)
            identifier, label = dashed(header[12:28]), text(header[28:44])
            return Found("swap", label, identifier, source.size_bytes, is_file_system=False)
    return None


def luks(source: ByteSource) -> Found | None:
    header = source.read_at(0, 512)
    if len(header) < 512 or header[:6] != b"LUKS\xba\xbe":
        return None
    label = text(header[24:72]) if header[6:8] == b"\0\2" else ""
    return Found(
        "crypto_LUKS",
        label,
        text(header[168:208]),
        source.size_bytes,
        warnings=("encrypted: --passphrase-file opens it",),
        is_file_system=False,
    )


def lvm(source: ByteSource) -> Found | None:
    for sector in range(4):
        label = source.read_at(sector * 512, 512)
        if label[:8] == b"LABELONE" and label[24:32] == b"LVM2 001":
            raw = text(label[32:64], "ascii")
            cuts = (0, 6, 10, 14, 18, 22, 26, 32)
            parts = [raw[start:end] for start, end in itertools.pairwise(cuts)]
            return Found("LVM2_member", "", "-".join(parts), source.size_bytes, is_file_system=False)
    return None


def signature(source: ByteSource) -> Found | None:
    for kind, at, magic, is_file_system in _SIGNATURES:
        if source.read_at(at, len(magic)) == magic:
            return Found(kind, is_file_system=is_file_system)
    return None
