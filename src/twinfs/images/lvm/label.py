"""What LVM2 keeps at the beginning of a physical volume: a label, a header, and areas of metadata.

Source: LVM2, lib/format_text/layout.h and lib/label/label.h. Numbers are little-endian.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from twinfs.errors import ImageError
from twinfs.images.protocol import ByteSource

SECTOR = 512
_LABEL_SECTORS = 4
"""The label may be in any of these."""
_LABEL = struct.Struct("<8sQII8s")
_LABEL_MAGIC, _LABEL_TYPE = b"LABELONE", b"LVM2 001"
_PV_HEADER = struct.Struct("<32sQ")
_AREA = struct.Struct("<QQ")
_AREAS_HEADER = struct.Struct("<I16sIQQ")
_AREAS_MAGIC = b" LVM2 x[5A%r0N*>"
_TEXT_AT = struct.Struct("<QQII")
_IGNORED = 1
_CHECKSUM_START = 0xF597A6CF
_LARGEST_TEXT = 8 << 20
"""Bytes; 10,000 logical volumes take 4 MB."""


@dataclass(frozen=True, slots=True)
class PhysicalVolume:
    """One physical volume: its number as LVM writes it, without dashes, and where its metadata is."""

    uuid: str
    areas: tuple[tuple[int, int], ...]
    """(offset, length) in bytes of each area of metadata; none on some of a group's volumes."""


def read(source: ByteSource) -> PhysicalVolume | None:
    """The header of the physical volume that a source is; None: it is none. Raises ImageError."""
    start = source.read_at(0, _LABEL_SECTORS * SECTOR)
    for at in range(0, len(start) - SECTOR + 1, SECTOR):
        sector = start[at : at + SECTOR]
        magic, number, checksum, header_at, kind = _LABEL.unpack_from(sector)
        if magic != _LABEL_MAGIC or kind != _LABEL_TYPE or number != at // SECTOR:
            continue
        if checksum_of(sector[20:]) != checksum:
            raise ImageError(f"lvm: label at byte {at} has a wrong checksum: it is damaged")
        return _header(sector, header_at, at)
    return None


def _header(sector: bytes, at: int, where: int) -> PhysicalVolume:
    if not _LABEL.size <= at <= SECTOR - _PV_HEADER.size:
        raise ImageError(f"lvm: label at byte {where} is damaged: its header is at {at}")
    raw_uuid, _ = _PV_HEADER.unpack_from(sector, at)
    _, metadata_at = _areas(sector, at + _PV_HEADER.size, where)
    metadata, _ = _areas(sector, metadata_at, where)
    return PhysicalVolume(raw_uuid.decode("ascii", "replace"), metadata)


def _areas(sector: bytes, at: int, where: int) -> tuple[tuple[tuple[int, int], ...], int]:
    """A list of areas that ends with one at 0, and where the list after it begins."""
    found: list[tuple[int, int]] = []
    while at + _AREA.size <= SECTOR:
        offset, length = _AREA.unpack_from(sector, at)
        at += _AREA.size
        if not offset:
            return tuple(found), at
        found.append((offset, length))
    raise ImageError(f"lvm: label at byte {where} is damaged: its list of areas does not end")


def metadata(source: ByteSource, area: tuple[int, int]) -> str | None:
    """The text that describes the volume group, in one area of metadata; None: there is none yet.

    Raises ImageError for a damaged one.
    """
    start, length = area
    header = source.read_at(start, SECTOR)
    what = f"lvm: metadata area at byte {start}"
    if len(header) < SECTOR:
        raise ImageError(f"{what} lies beyond the end of the image")
    checksum, magic, version, said_start, said_length = _AREAS_HEADER.unpack_from(header)
    if magic != _AREAS_MAGIC or checksum_of(header[4:]) != checksum:
        raise ImageError(f"{what} has a wrong header or checksum: it is damaged")
    if version != 1 or said_start != start or said_length > length:
        raise ImageError(f"{what} is damaged: version {version}, {said_length} bytes at {said_start}")
    offset, size, text_checksum, flags = _TEXT_AT.unpack_from(header, _AREAS_HEADER.size)
    if not offset or not size or flags & _IGNORED:
        return None
    text = _ring(source, start, said_length, offset, size, what)
    if checksum_of(text) != text_checksum:
        raise ImageError(f"{what} has a text with a wrong checksum: it is damaged")
    return text.rstrip(b"\0\n").decode("utf-8", "replace")


def _ring(source: ByteSource, start: int, length: int, offset: int, size: int, what: str) -> bytes:
    """The text goes around from the area's end to behind its header."""
    if size > min(_LARGEST_TEXT, length - SECTOR) or not SECTOR <= offset < length:
        raise ImageError(f"{what} is damaged: a text of {size} bytes at {offset} in {length}")
    before_end = min(size, length - offset)
    text = source.read_at(start + offset, before_end)
    if before_end < size:
        text += source.read_at(start + SECTOR, size - before_end)
    if len(text) != size:
        raise ImageError(f"{what} lies beyond the end of the image")
    return text


def checksum_of(data: bytes) -> int:
    """CRC-32 with LVM's own start, and not inverted at its ends."""
    return zlib.crc32(data, _CHECKSUM_START ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
