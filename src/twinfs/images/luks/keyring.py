"""The keys that were derived so far, and the volumes that they open."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.luks.cipher import DecryptedSource, SectorCipher
from twinfs.images.luks.derive import HASHES, Derivation, check_pbkdf2
from twinfs.images.luks.header import MAGIC, SECTOR_BYTES, Header, KeySlot, read_luks1
from twinfs.images.luks.header2 import read_luks2
from twinfs.images.protocol import ByteSource
from twinfs.images.sources import CachedSource, Window

_MAX_STRIPES: Final = 8000
_MAX_DIGEST_ITERATIONS: Final = 4_000_000
"""Checked by the reader, which should get on; cryptsetup takes an eighth of its two seconds."""
_CACHE_BLOCKS: Final = 256


class Keyring:
    """One key slot after another is tried: whoever knows the passphrase is asked for one key at a time."""

    def __init__(self) -> None:
        self._keys: dict[Derivation, bytes] = {}
        self.wanted: Derivation | None = None
        """What to derive next, found by `open`."""

    def add(self, derivation: Derivation | None, key: bytes) -> None:
        """None: nothing was derived yet. Volumes are to be opened anew then."""
        if derivation is not None:
            self._keys[derivation] = key
        self.wanted = None

    def open(self, source: ByteSource) -> ByteSource:
        """What is within a LUKS volume. Raises ImageError where it is locked or damaged."""
        header = read_header(source)
        problem = "LUKS: it has no key slot in use"
        for slot in header.slots:
            try:
                slot.derivation.check()
                key = self._keys.get(slot.derivation)
                volume_key = None if key is None else _volume_key(source, slot, key)
            except ImageError as error:
                problem = str(error)
                continue
            if key is None:
                self.wanted = self.wanted or slot.derivation
                raise ImageError("LUKS: locked")
            if volume_key is not None:
                return _within(source, header, volume_key)
            problem = "LUKS: the passphrase opens none of its key slots"
        raise ImageError(problem)


def read_header(source: ByteSource) -> Header:
    head = source.read_at(0, 8)
    if head == MAGIC + b"\0\1":
        return read_luks1(source)
    if head == MAGIC + b"\0\2":
        return read_luks2(source)
    raise ImageError("LUKS: a version that is not known here")


def _within(source: ByteSource, header: Header, volume_key: bytes) -> ByteSource:
    rest = source.size_bytes - header.data_offset_bytes
    size = rest if header.data_bytes is None else header.data_bytes
    if rest <= 0:
        raise ImageError("LUKS: its data lie behind the end; is the header detached?")
    cipher = SectorCipher(header.cipher, volume_key, header.sector_bytes)
    window = Window(source, header.data_offset_bytes, size)
    plain = DecryptedSource(window, cipher, header.sector_bytes, header.first_sector)
    return CachedSource(plain, block_count=_CACHE_BLOCKS)


def _volume_key(source: ByteSource, slot: KeySlot, key: bytes) -> bytes | None:
    """None: the passphrase was another."""
    digest = slot.digest
    check_pbkdf2(digest.hash_name, digest.iterations, len(digest.value), _MAX_DIGEST_ITERATIONS)
    if not (0 < slot.stripes <= _MAX_STRIPES and 0 < slot.volume_key_bytes <= 64 and digest.value):
        raise ImageError(f"LUKS: key slot {slot.number} makes no sense")
    if slot.stripe_hash not in HASHES:
        raise ImageError(f"LUKS: hash {slot.stripe_hash!r} is not known here")
    count = slot.stripes * slot.volume_key_bytes
    area = Window(source, slot.offset_bytes, -(-count // SECTOR_BYTES) * SECTOR_BYTES)
    cipher = SectorCipher(slot.cipher, key, SECTOR_BYTES)
    spread = DecryptedSource(area, cipher, SECTOR_BYTES).read_at(0, count)
    if len(spread) < count:
        raise ImageError(f"LUKS: key slot {slot.number} lies behind the end")
    found = _merged(spread, slot.volume_key_bytes, slot.stripe_hash)
    made = hashlib.pbkdf2_hmac(digest.hash_name, found, digest.salt, digest.iterations, len(digest.value))
    return found if hmac.compare_digest(made, digest.value) else None


def _merged(spread: bytes, size: int, hash_name: str) -> bytes:
    """The anti-forensic splitter undone: LUKS1's specification, section 2.4."""
    block = 0
    last = len(spread) - size
    for at in range(0, last, size):
        block ^= int.from_bytes(spread[at : at + size], "big")
        block = int.from_bytes(_diffused(block.to_bytes(size, "big"), hash_name), "big")
    return (block ^ int.from_bytes(spread[last:], "big")).to_bytes(size, "big")


def _diffused(block: bytes, hash_name: str) -> bytes:
    width = hashlib.new(hash_name, usedforsecurity=False).digest_size
    pieces = []
    for number, at in enumerate(range(0, len(block), width)):
        piece = block[at : at + width]
        numbered = number.to_bytes(4, "big") + piece
        pieces.append(hashlib.new(hash_name, numbered, usedforsecurity=False).digest()[: len(piece)])
    return b"".join(pieces)
