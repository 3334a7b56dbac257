"""Sectors decrypted as dm-crypt does.

Source: Documentation/admin-guide/device-mapper/dm-crypt.rst of Linux.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.protocol import ByteSource

_UNIT: Final = 512
"""Initialisation vectors count these, whatever the sector's size."""
_MAX_READ_BYTES: Final = 16 << 20


class SectorCipher:
    """Of a specification such as aes-xts-plain64. Raises ImageError where it is not known here."""

    def __init__(self, spec: str, key: bytes, sector_bytes: int) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
        except ImportError:
            raise ImageError("LUKS needs a library that is not here: pip install cryptography") from None
        self._sector_bytes = sector_bytes
        name, _, rest = spec.partition("-")
        mode, _, vector = rest.partition("-")
        if name != "aes" or mode not in ("xts", "cbc"):
            raise ImageError(f"LUKS: cipher {spec!r} is not known here")
        if len(key) not in ((32, 64) if mode == "xts" else (16, 24, 32)):
            raise ImageError(f"LUKS: a key of {len(key)} bytes is none for {spec!r}")
        self._cipher = Cipher
        self._algorithm = algorithms.AES(key)
        self._mode: Callable[[bytes], modes.XTS | modes.CBC] = modes.XTS if mode == "xts" else modes.CBC
        self._vector = _vectors(spec, vector, key)

    def decrypt(self, first_unit: int, data: bytes) -> bytes:
        """Whole sectors; the first is number `first_unit`, counted in 512 bytes."""
        size, step = self._sector_bytes, self._sector_bytes // _UNIT
        found = bytearray()
        try:
            for at in range(0, len(data), size):
                vector = self._vector(first_unit + at // size * step)
                sector = self._cipher(self._algorithm, self._mode(vector)).decryptor()
                found += sector.update(data[at : at + size])
        except (ValueError, OverflowError) as error:
            raise ImageError(f"LUKS: sector {first_unit}: {error}") from None
        return bytes(found)


def _vectors(spec: str, vector: str, key: bytes) -> Callable[[int], bytes]:
    if vector == "plain64":
        return lambda unit: unit.to_bytes(16, "little")
    if vector == "plain":
        return lambda unit: (unit & 0xFFFFFFFF).to_bytes(16, "little")
    if vector == "essiv:sha256":
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        salted = Cipher(algorithms.AES(hashlib.sha256(key).digest()), modes.ECB())
        return lambda unit: salted.encryptor().update(unit.to_bytes(16, "little"))
    raise ImageError(f"LUKS: cipher {spec!r} is not known here")


class DecryptedSource:
    """The volume within; put a cache before it. Threads may share it."""

    def __init__(
        self, encrypted: ByteSource, cipher: SectorCipher, sector_bytes: int, first_unit: int = 0
    ) -> None:
        self._encrypted = encrypted
        self._cipher = cipher
        self._sector_bytes = sector_bytes
        self._first_unit = first_unit
        self.size_bytes = encrypted.size_bytes // sector_bytes * sector_bytes

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        length = min(length, self.size_bytes - offset_bytes, _MAX_READ_BYTES)
        if length <= 0 or offset_bytes < 0:
            return b""
        size = self._sector_bytes
        start = offset_bytes // size * size
        end = -(-(offset_bytes + length) // size) * size
        raw = self._encrypted.read_at(start, end - start)
        plain = self._cipher.decrypt(self._first_unit + start // _UNIT, raw)
        return plain[offset_bytes - start : offset_bytes - start + length]

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        """All of it: zeros there are no zeros here."""
        end = min(offset_bytes + length, self.size_bytes)
        if end > offset_bytes >= 0:
            yield offset_bytes, end - offset_bytes
