"""From a passphrase to the key of a key slot: what is slow on purpose, and may take a gigabyte.

So it is done by whoever has the passphrase, not by the reader: that never learns it, and has less memory.
What is asked for comes from the image, hence the limits.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from twinfs.errors import ImageError

_MAX_ITERATIONS: Final = 16_000_000
"""Of PBKDF2, for each of the hashes that make up a key; cryptsetup asks for what takes two seconds."""
_MAX_MEMORY_KIB: Final = 1 << 20
"""Of Argon2; cryptsetup asks for no more unless it is told to."""
_MAX_PASSES_KIB: Final = 24 << 20
"""Passes times memory: what bounds the time. cryptsetup makes 4 to 12 passes over 1 GiB."""
_MAX_LANES: Final = 16
_MAX_KEY_BYTES: Final = 64
_MAX_SALT_BYTES: Final = 1024
HASHES: Final = ("sha1", "sha224", "sha256", "sha384", "sha512")


class Derivation(msgspec.Struct, frozen=True):
    """How a key slot makes a key of a passphrase."""

    kind: str
    """pbkdf2, argon2i or argon2id."""
    salt: bytes
    key_bytes: int
    hash_name: str = ""
    """Of PBKDF2."""
    iterations: int = 0
    """Of PBKDF2; passes of Argon2."""
    memory_kib: int = 0
    lanes: int = 0

    def check(self) -> None:
        """Raises ImageError where it is not known, or would take too long or too much."""
        if not (0 < self.key_bytes <= _MAX_KEY_BYTES and len(self.salt) <= _MAX_SALT_BYTES):
            raise ImageError(f"LUKS: a key of {self.key_bytes} bytes makes no sense")
        if self.kind == "pbkdf2":
            check_pbkdf2(self.hash_name, self.iterations, self.key_bytes, _MAX_ITERATIONS)
        elif self.kind in ("argon2i", "argon2id"):
            if not (
                0 < self.lanes <= _MAX_LANES and self.iterations > 0 and 8 * self.lanes <= self.memory_kib
            ):
                raise ImageError(f"LUKS: {self.kind} with settings that make no sense")
            if self.memory_kib > _MAX_MEMORY_KIB or self.memory_kib * self.iterations > _MAX_PASSES_KIB:
                raise ImageError(
                    f"LUKS: {self.iterations} passes of {self.kind} over {self.memory_kib >> 10} MiB "
                    f"are more than is done here (1024 MiB; {_MAX_PASSES_KIB >> 20} passes over that)"
                )
        else:
            raise ImageError(f"LUKS: key derivation {self.kind!r} is not known here")


def check_pbkdf2(hash_name: str, iterations: int, key_bytes: int, most: int) -> None:
    if hash_name not in HASHES:
        raise ImageError(f"LUKS: hash {hash_name!r} is not known here")
    hashes = -(-key_bytes // hashlib.new(hash_name, usedforsecurity=False).digest_size)
    if not 0 < iterations * hashes <= most:
        raise ImageError(
            f"LUKS: {iterations} iterations of {hash_name}; at most {most // hashes} are done here"
        )


def derive(passphrase: bytes, wanted: Derivation) -> bytes:
    """Takes seconds. Raises ImageError."""
    wanted.check()
    if wanted.kind == "pbkdf2":
        return hashlib.pbkdf2_hmac(
            wanted.hash_name, passphrase, wanted.salt, wanted.iterations, wanted.key_bytes
        )
    try:
        from argon2.exceptions import HashingError
        from argon2.low_level import Type, hash_secret_raw
    except ImportError:
        raise ImageError("LUKS2 needs a library that is not here: pip install argon2-cffi") from None
    try:
        return hash_secret_raw(
            passphrase,
            wanted.salt,
            time_cost=wanted.iterations,
            memory_cost=wanted.memory_kib,
            parallelism=wanted.lanes,
            hash_len=wanted.key_bytes,
            type=Type.ID if wanted.kind == "argon2id" else Type.I,
        )
    except HashingError as error:
        raise ImageError(f"LUKS: {wanted.kind} over {wanted.memory_kib >> 10} MiB: {error}") from None
