"""LUKS2: a binary header with a checksum, and JSON behind it; both are there twice."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from typing import Final

import msgspec

from twinfs.errors import ImageError
from twinfs.images.luks.derive import Derivation
from twinfs.images.luks.header import MAGIC, Digest, Header, KeySlot
from twinfs.images.protocol import ByteSource

_SECOND_MAGIC: Final = b"SKUL\xba\xbe"
_PLACES: Final = tuple(0x4000 << shift for shift in range(9))
"""Where the second header may lie: as large as the first may be."""
_HEAD: Final = struct.Struct(">6sHQQ48s32s64s40s48sQ184x64s")
_CHECKSUM_AT: Final = 448
_JSON_AT: Final = 4096
_MAX_SLOTS: Final = 32
_SECTORS: Final = (512, 1024, 2048, 4096)


class _Kdf(msgspec.Struct):
    type: str
    salt: str
    hash: str = ""
    iterations: int = 0
    time: int = 0
    memory: int = 0
    cpus: int = 0


class _Area(msgspec.Struct):
    type: str
    offset: str
    encryption: str = ""
    key_size: int = 0


class _Stripes(msgspec.Struct):
    type: str
    stripes: int
    hash: str


class _Slot(msgspec.Struct):
    type: str
    key_size: int
    area: _Area
    kdf: _Kdf | None = None
    af: _Stripes | None = None


class _Segment(msgspec.Struct):
    type: str
    offset: str
    size: str
    encryption: str = ""
    iv_tweak: str = "0"
    sector_size: int = 512
    integrity: msgspec.Raw | None = None


class _Digest(msgspec.Struct):
    type: str
    keyslots: list[str]
    segments: list[str]
    hash: str
    iterations: int
    salt: str
    digest: str


class _Metadata(msgspec.Struct):
    keyslots: dict[str, _Slot]
    segments: dict[str, _Segment]
    digests: dict[str, _Digest]


def read_luks2(source: ByteSource) -> Header:
    """From whichever of the two headers is whole, and newer."""
    found = [each for each in (_binary(source, place) for place in (0, *_PLACES)) if each is not None]
    if not found:
        raise ImageError("LUKS2: both headers are damaged")
    _, text = max(found, key=lambda each: each[0])
    try:
        metadata = msgspec.json.decode(text.split(b"\0", 1)[0], type=_Metadata)
        return _header(metadata)
    except (msgspec.MsgspecError, ValueError, binascii.Error) as error:
        raise ImageError(f"LUKS2: its metadata cannot be read: {error}") from None


def _binary(source: ByteSource, place: int) -> tuple[int, bytes] | None:
    """Its sequence number and the JSON; None where there is no header, or one that was damaged."""
    raw = source.read_at(place, _HEAD.size)
    if len(raw) < _HEAD.size:
        return None
    magic, version, size, sequence, _, algorithm, _, _, _, offset, checksum = _HEAD.unpack(raw)
    if magic != (MAGIC if place == 0 else _SECOND_MAGIC) or version != 2:
        return None
    if size not in _PLACES or offset != place or algorithm.rstrip(b"\0") != b"sha256":
        return None
    whole = bytearray(source.read_at(place, size))
    whole[_CHECKSUM_AT : _CHECKSUM_AT + 64] = bytes(64)
    if len(whole) < size or hashlib.sha256(whole).digest() != checksum[:32]:
        return None
    return sequence, bytes(whole[_JSON_AT:])


def _header(metadata: _Metadata) -> Header:
    if len(metadata.segments) != 1 or any(slot.type == "reencrypt" for slot in metadata.keyslots.values()):
        raise ImageError("LUKS2: it is being encrypted anew; finish that with cryptsetup reencrypt")
    name, segment = next(iter(metadata.segments.items()))
    if segment.type != "crypt" or segment.integrity is not None or segment.sector_size not in _SECTORS:
        raise ImageError(f"LUKS2: a segment of type {segment.type!r}, or with integrity, cannot be read here")
    slots: list[KeySlot] = []
    for digest in metadata.digests.values():
        if name not in digest.segments or digest.type != "pbkdf2":
            continue
        check = Digest(digest.hash, _raw(digest.salt), digest.iterations, _raw(digest.digest))
        for number in sorted(digest.keyslots, key=int):
            slot = metadata.keyslots.get(number)
            if slot is not None and slot.kdf is not None and slot.af is not None and slot.area.type == "raw":
                slots.append(_slot(int(number), slot, slot.kdf, slot.af, check))
    return Header(
        tuple(slots[:_MAX_SLOTS]),
        segment.encryption,
        segment.sector_size,
        _number(segment.offset),
        None if segment.size == "dynamic" else _number(segment.size),
        _number(segment.iv_tweak),
    )


def _slot(number: int, slot: _Slot, kdf: _Kdf, stripes: _Stripes, check: Digest) -> KeySlot:
    wanted = Derivation(
        kdf.type,
        _raw(kdf.salt),
        slot.area.key_size,
        kdf.hash,
        kdf.iterations if kdf.type == "pbkdf2" else kdf.time,
        kdf.memory,
        kdf.cpus,
    )
    area = slot.area
    return KeySlot(
        number,
        wanted,
        area.encryption,
        _number(area.offset),
        stripes.stripes,
        stripes.hash,
        slot.key_size,
        check,
    )


def _raw(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _number(text: str) -> int:
    """64-bit numbers are text in LUKS2's JSON, for JSON has only doubles."""
    number = int(text, 10)
    if not 0 <= number < 1 << 63:
        raise ValueError(f"{text} is out of range")
    return number
