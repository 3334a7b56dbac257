"""What a LUKS header says, in both versions, and LUKS1's own layout."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.luks.derive import Derivation
from twinfs.images.protocol import ByteSource

MAGIC: Final = b"LUKS\xba\xbe"
SECTOR_BYTES: Final = 512
_ACTIVE: Final = 0x00AC71F3
_HEAD: Final = struct.Struct(">6sH32s32s32sII20s32sI40s")
_SLOT: Final = struct.Struct(">II32sII")
_SLOTS: Final = 8


@dataclass(frozen=True, slots=True)
class Digest:
    """What tells the right volume key from a wrong one."""

    hash_name: str
    salt: bytes
    iterations: int
    value: bytes


@dataclass(frozen=True, slots=True)
class KeySlot:
    number: int
    derivation: Derivation
    """Of the key that its area is encrypted with."""
    cipher: str
    offset_bytes: int
    """Of the area: the volume key, blown up to many stripes and encrypted."""
    stripes: int
    stripe_hash: str
    volume_key_bytes: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class Header:
    slots: tuple[KeySlot, ...]
    cipher: str
    """Such as aes-xts-plain64."""
    sector_bytes: int
    data_offset_bytes: int
    data_bytes: int | None
    """None: up to the end."""
    first_sector: int = 0
    """What counts for the initialisation vectors as number of the first sector."""


def read_luks1(source: ByteSource) -> Header:
    raw = source.read_at(0, _HEAD.size + _SLOTS * _SLOT.size)
    if len(raw) < _HEAD.size + _SLOTS * _SLOT.size:
        raise ImageError("LUKS1: ends within its header")
    _, _, name, mode, raw_hash, payload, key_bytes, digest, salt, iterations, _ = _HEAD.unpack_from(raw)
    cipher, hash_name = f"{_word(name)}-{_word(mode)}", _word(raw_hash)
    check = Digest(hash_name, salt, iterations, digest)
    slots: list[KeySlot] = []
    for number in range(_SLOTS):
        at = _HEAD.size + number * _SLOT.size
        state, rounds, slot_salt, area, stripes = _SLOT.unpack_from(raw, at)
        if state == _ACTIVE:
            wanted = Derivation("pbkdf2", slot_salt, key_bytes, hash_name, rounds)
            place = area * SECTOR_BYTES
            slots.append(KeySlot(number, wanted, cipher, place, stripes, hash_name, key_bytes, check))
    return Header(tuple(slots), cipher, SECTOR_BYTES, payload * SECTOR_BYTES, None)


def _word(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("ascii", "replace")
