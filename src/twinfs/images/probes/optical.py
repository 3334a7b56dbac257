"""ISO 9660 and UDF. Sources: ECMA-119 (volume descriptors); ECMA-167 and OSTA UDF 2.60 (recognition)."""

from __future__ import annotations

import struct
from typing import Final

from twinfs.images.probes.found import Found, field, text
from twinfs.images.protocol import ByteSource

_FIRST_DESCRIPTOR: Final = 0x8000
_MAX_DESCRIPTORS: Final = 64


def iso9660(source: ByteSource) -> Found | None:
    if source.read_at(_FIRST_DESCRIPTOR + 1, 5) != b"CD001":
        return None
    primary: bytes = b""
    joliet = ""
    for number in range(_MAX_DESCRIPTORS):
        block = source.read_at(_FIRST_DESCRIPTOR + number * 2048, 2048)
        if len(block) < 2048 or block[1:6] != b"CD001" or block[0] == 255:
            break
        if block[0] == 1 and not primary:
            primary = block
        elif block[0] == 2 and block[88:91] in (b"%/@", b"%/C", b"%/E"):
            joliet = block[40:72].decode("utf-16-be", "replace").rstrip(" \0")
    if not primary:
        return None
    if not _has_rock_ridge(source, primary):
        # A bridge disc is both, and UDF knows the longer names; only Rock Ridge knows more.
        bridge = udf(source)
        if bridge is not None:
            return bridge
    label = text(primary[40:72])
    # Joliet's is not in capitals only, but shorter: as blkid, take it where it is the same name.
    if joliet and joliet.upper() == label[: len(joliet)].upper() and len(joliet) >= min(len(label), 16):
        label = joliet
    blocks = int.from_bytes(primary[80:84], "little")
    return Found("iso9660", label, _date(primary), blocks * 2048, 0)


def _has_rock_ridge(source: ByteSource, primary: bytes) -> bool:
    """Whether the root's first record bears the mark of SUSP (IEEE P1281)."""
    (root,) = struct.unpack_from("<I", primary, 158)
    return b"SP\x07\x01\xbe\xef" in source.read_at(root * 2048, 256)


def _date(primary: bytes) -> str:
    """The date of modification, else of creation, with dashes: what blkid calls its UUID."""
    for at in (830, 813):
        digits = primary[at : at + 16]
        if digits.isdigit() and digits.strip(b"0"):
            t = digits.decode()
            return "-".join([t[:4], t[4:6], t[6:8], t[8:10], t[10:12], t[12:14], t[14:16]])
    return ""


def udf(source: ByteSource) -> Found | None:
    for number in range(_MAX_DESCRIPTORS):
        block = source.read_at(_FIRST_DESCRIPTOR + number * 2048, 6)
        if block[1:6] in (b"NSR02", b"NSR03"):
            return _udf_found(source)
        if block[1:6] not in (b"BEA01", b"CD001", b"BOOT2", b"CDW02"):
            return None
    return None


def _udf_found(source: ByteSource) -> Found:
    """The label from the logical volume descriptor, which the anchor at block 256 leads to."""
    for block_size in (2048, 512, 4096, 1024):
        tag, _, _, _, _, _, _, place = field(source, "<HHBBHHHI", 256 * block_size)
        if tag != 2 or place != 256:
            continue
        length, start = field(source, "<II", 256 * block_size + 16)
        for number in range(min(length // block_size, _MAX_DESCRIPTORS)):
            raw = source.read_at((start + number) * block_size, 512)
            if len(raw) == 512 and raw[:2] == b"\x06\x00":
                return Found("udf", _dstring(raw[84:212]), total_bytes=source.size_bytes)
    return Found("udf", total_bytes=source.size_bytes)


def _dstring(raw: bytes) -> str:
    """OSTA compressed unicode with its length in the last byte."""
    used = raw[1 : max(1, raw[-1])]
    return used.decode("utf-16-be", "replace") if raw[0] == 16 else used.decode("latin-1")
