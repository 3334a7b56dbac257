"""Bytes and checked metadata blocks of one file system."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from twinfs.errors import ImageError
from twinfs.images.bounded_cache import BoundedCache
from twinfs.images.protocol import ByteSource
from twinfs.images.xfs.crc32c import crc32c
from twinfs.images.xfs.superblock import Superblock

_CACHED_BYTES = 16 << 20
_OWNER_AND_PLACE = struct.Struct(">Q")


Pieces = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of metadata block: its name in errors, its magic numbers, where version 5 keeps its stamps.

    Offsets are bytes into the block. XFS Algorithms & Data Structures, "Self Describing Metadata".
    """

    name: str
    magic_at: int
    magics: frozenset[bytes]
    crc_at: int
    place_at: int
    uuid_at: int
    owner_at: int


class Disk:
    """A file system's bytes, its superblock, and the metadata read lately. Safe to use from threads."""

    def __init__(self, source: ByteSource, superblock: Superblock) -> None:
        self._source = source
        self.superblock = superblock
        self.blocks: BoundedCache[tuple[int, str, int], bytes] = BoundedCache(_CACHED_BYTES)
        """Checked metadata blocks by inode, kind and number."""

    @property
    def size_bytes(self) -> int:
        return self._source.size_bytes

    def read(self, offset_bytes: int, length: int, what: str) -> bytes:
        """Exactly `length` bytes. Raises ImageError, naming `what` they are, where the image is too short."""
        data = self._source.read_at(offset_bytes, length)
        if len(data) != length:
            raise ImageError(f"xfs: {what} at byte {offset_bytes}: the image ends before it does")
        return data

    def metadata(self, pieces: Pieces, kind: Kind, owner: int) -> bytes:
        """One metadata block of an inode, checked. `pieces`: where it is, each offset and length in bytes.

        Raises ImageError with what is wrong with it.
        """
        data = b"".join(self.read(offset, length, kind.name) for offset, length in pieces)
        self._check(data, pieces[0][0], kind, owner)
        return data

    def _check_magic(self, block: bytes, offset_bytes: int, kind: Kind) -> None:
        if block[kind.magic_at : kind.magic_at + len(next(iter(kind.magics)))] not in kind.magics:
            raise ImageError(f"xfs: {kind.name} at byte {offset_bytes} is none: it is damaged or overwritten")

    def check_sum(self, block: bytes, crc_at: int, what: str) -> None:
        """Checksums are little-endian, and made with zeros in their own place."""
        (stored,) = struct.unpack_from("<I", block, crc_at)
        if stored != crc32c(block[:crc_at] + bytes(4) + block[crc_at + 4 :]):
            raise ImageError(f"xfs: {what} has a wrong checksum: it is damaged")

    def _check(self, block: bytes, offset_bytes: int, kind: Kind, owner: int) -> None:
        # A wrong magic number says more than the wrong checksum it comes with.
        self._check_magic(block, offset_bytes, kind)
        if not self.superblock.has_checksums:
            return
        where = f"{kind.name} at byte {offset_bytes}"
        self.check_sum(block, kind.crc_at, where)
        if block[kind.uuid_at : kind.uuid_at + 16] != self.superblock.metadata_uuid:
            raise ImageError(f"xfs: {where} belongs to another file system: it is damaged")
        (place,) = _OWNER_AND_PLACE.unpack_from(block, kind.place_at)
        if place != offset_bytes // 512:
            raise ImageError(f"xfs: {where} says it belongs at byte {place * 512}: it is damaged")
        (said,) = _OWNER_AND_PLACE.unpack_from(block, kind.owner_at)
        if said != owner:
            raise ImageError(f"xfs: {where} belongs to inode {said}, not to {owner}: it is damaged")
