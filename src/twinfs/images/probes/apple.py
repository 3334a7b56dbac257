"""HFS+ and APFS. Sources: Apple Technical Note TN1150; "Apple File System Reference"."""

from __future__ import annotations

import hashlib
import struct
import uuid
from typing import Final

from twinfs.images.probes.found import Found, dashed
from twinfs.images.protocol import ByteSource

_VOLUMES: Final = slice(184, 184 + 100 * 8)
"""nx_fs_oid: a number for each volume that there is, else 0."""
_NAMESPACE: Final = bytes.fromhex("b3e20f39f29211d697a400306543ecac")
"""Apple's name space, from which a volume's identifier becomes a UUID; as blkid does it."""


def hfsplus(source: ByteSource) -> Found | None:
    header = source.read_at(1024, 512)
    if len(header) < 512 or header[:2] not in (b"H+", b"HX"):
        return None
    block_size, blocks, free = struct.unpack_from(">III", header, 40)
    (attributes,) = struct.unpack_from(">I", header, 4)
    own_id = header[104:112]
    identifier = ""
    if own_id.strip(b"\0"):
        digest = bytearray(hashlib.md5(_NAMESPACE + own_id, usedforsecurity=False).digest())
        digest[6] = digest[6] & 0x0F | 0x30
        digest[8] = digest[8] & 0x3F | 0x80
        identifier = str(uuid.UUID(bytes=bytes(digest)))
    is_clean = bool(attributes & 0x100)
    warnings = () if is_clean else ("it was not unmounted cleanly; its journal is not replayed",)
    return Found("hfsplus", "", identifier, blocks * block_size, free * block_size, warnings)


def apfs(source: ByteSource) -> Found | None:
    block = source.read_at(0, 4096)
    if len(block) < 4096 or block[32:36] != b"NXSB":
        return None
    block_size, blocks = struct.unpack_from("<IQ", block, 36)
    volumes = sum(1 for (number,) in struct.iter_unpack("<Q", block[_VOLUMES]) if number)
    return Found("apfs", "", dashed(block[72:88]), blocks * block_size, volumes=volumes)
