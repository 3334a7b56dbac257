"""Expert Witness images (E01, S01) in any number of segments: compressed chunks, each with a checksum.

Source: "Expert Witness Compression Format specification" of the libewf project.
"""

from __future__ import annotations

import re
import struct
import threading
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from twinfs.errors import ImageError
from twinfs.images import progress
from twinfs.images.protocol import ByteSource

_FILE_HEAD: Final = 13
_SECTION: Final = struct.Struct("<16sQQ40xI")
_TABLE_HEAD: Final = struct.Struct("<I4xQ4xI")
_ENTRY: Final = struct.Struct("<I")
_COMPRESSED: Final = 1 << 31
_MAX_SECTIONS: Final = 100_000
_MAX_ENTRIES: Final = 1 << 20
_MAX_CHUNK_BYTES: Final = 32 << 20
_MAX_TABLES_KEPT: Final = 16
_NUMBERED: Final = 99
"""Segments with digits, .E01 to .E99; then .EAA, .EAB..."""


@dataclass(slots=True)
class _Table:
    """Where some chunks that follow one another lie."""

    segment: ByteSource
    first_chunk: int
    count: int
    base_bytes: int
    end_bytes: int
    """Where the last of them ends."""
    places: list[int] = field(default_factory=list)
    """Of its entries: one, and a copy in case that is damaged."""


def segment_name(first: str, number: int) -> str | None:
    """The name of segment 2, 3... of an image whose first is `first`; None: it has no such names."""
    match = re.fullmatch(r"(.*\.)([EeSs])01", first, re.DOTALL)
    if match is None:
        return None
    stem, letter = match.groups()
    if number <= _NUMBERED:
        return f"{stem}{letter}{number:02d}"
    rest, third = divmod(number - _NUMBERED - 1, 26)
    above, second = divmod(rest, 26)
    base = "a" if letter.islower() else "A"
    if ord(letter) + above > ord(base) + 25:
        return None
    return f"{stem}{chr(ord(letter) + above)}{chr(ord(base) + second)}{chr(ord(base) + third)}"


class EwfSource:
    """Put a cache before it. Threads may share it."""

    def __init__(self, first: ByteSource, name: str, open_beside: Callable[[str], ByteSource]) -> None:
        """Raises ImageError, also where a segment is missing."""
        self.size_bytes = 0
        self.chunk_bytes = 0
        self._name = name
        self._tables: list[_Table] = []
        self._chunks = 0
        self._loaded: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._sections = 0
        segment, number = first, 1
        while not self._walk(segment, number):
            number += 1
            next_name = segment_name(name, number)
            if next_name is None:
                raise ImageError(f"{name}: it goes on in another segment; the first is called NAME.E01")
            segment = open_beside(next_name)
        if not self.chunk_bytes:
            raise ImageError(f"{name}: nowhere does it say how large the disk is")
        self._firsts = [table.first_chunk for table in self._tables]

    def _walk(self, segment: ByteSource, number: int) -> bool:
        """Take in the sections of a segment; whether it is the last one."""
        head = segment.read_at(0, _FILE_HEAD)
        if len(head) < _FILE_HEAD or int.from_bytes(head[9:11], "little") != number:
            raise ImageError(f"{self._name}: segment {number} is not what its name says")
        at, data_end = _FILE_HEAD, 0
        while True:
            progress.advance()
            self._sections += 1
            raw = segment.read_at(at, _SECTION.size)
            if len(raw) < _SECTION.size or self._sections > _MAX_SECTIONS:
                raise ImageError(f"{self._name}: segment {number} ends at byte {at}, before its last section")
            raw_kind, following, size, checksum = _SECTION.unpack(raw)
            kind = raw_kind.rstrip(b"\0")
            if zlib.adler32(raw[:-4]) != checksum:
                raise ImageError(f"{self._name}: segment {number}: the section at byte {at} is damaged")
            if kind in (b"next", b"done"):
                return bool(kind == b"done")
            if following <= at:
                raise ImageError(f"{self._name}: segment {number}: its sections go round in a circle")
            start = at + _SECTION.size
            if kind in (b"volume", b"disk", b"data") and not self.chunk_bytes:
                self._take_volume(segment.read_at(start, min(size, following - at) - _SECTION.size))
            elif kind == b"sectors":
                data_end = at + size if size else following
            elif kind in (b"table", b"table2"):
                self._take_table(segment, start, data_end or following, is_copy=kind == b"table2")
                data_end = data_end if kind == b"table" else 0
            at = following

    def _take_volume(self, raw: bytes) -> None:
        """Damaged ones are passed over: later segments have copies."""
        if len(raw) < 94 or zlib.adler32(raw[:-4]) != _ENTRY.unpack(raw[-4:])[0]:
            return
        # The first version, of 94 bytes, counts sectors in 32 bits.
        sectors_per_chunk, bytes_per_sector, sectors = struct.unpack_from(
            "<III" if len(raw) < 1000 else "<IIQ", raw, 8
        )
        chunk_bytes = sectors_per_chunk * bytes_per_sector
        if not 0 < chunk_bytes <= _MAX_CHUNK_BYTES or sectors * bytes_per_sector >= 1 << 63:
            raise ImageError(
                f"{self._name}: chunks of {chunk_bytes} bytes, or {sectors} sectors, make no sense"
            )
        self.chunk_bytes = chunk_bytes
        self.size_bytes = sectors * bytes_per_sector

    def _take_table(self, segment: ByteSource, start: int, data_end: int, *, is_copy: bool) -> None:
        raw = segment.read_at(start, _TABLE_HEAD.size)
        if len(raw) < _TABLE_HEAD.size:
            return
        count, base, checksum = _TABLE_HEAD.unpack(raw)
        if zlib.adler32(raw[:-4]) != checksum or count > _MAX_ENTRIES:
            return  # the copy may be whole; else these chunks, and those behind them, are missing
        place = start + _TABLE_HEAD.size
        last = self._tables[-1] if self._tables else None
        if is_copy and last is not None and (last.segment, last.end_bytes) == (segment, data_end):
            last.places.append(place)
            return
        self._tables.append(_Table(segment, self._chunks, count, base, data_end, [place]))
        self._chunks += count

    def _entries(self, index: int) -> bytes:
        with self._lock:
            if index in self._loaded:
                self._loaded.move_to_end(index)
                return self._loaded[index]
        table = self._tables[index]
        entries = self._read_entries(table)
        with self._lock:
            self._loaded[index] = entries
            if len(self._loaded) > _MAX_TABLES_KEPT:
                self._loaded.popitem(last=False)
        return entries

    def _read_entries(self, table: _Table) -> bytes:
        size = table.count * _ENTRY.size
        found: bytes | None = None
        for place in table.places:
            raw = table.segment.read_at(place, size + 4)
            if len(raw) < size + 4:
                continue
            found = found or raw[:size]
            if zlib.adler32(raw[:size]) == _ENTRY.unpack(raw[size:])[0]:
                found = raw[:size]
                break
        if found is None:
            raise ImageError(f"{self._name}: the table of chunk {table.first_chunk} is cut off")
        return found

    def _chunk(self, number: int) -> bytes:
        """Whole, checked. Raises ImageError."""
        index = bisect_right(self._firsts, number) - 1
        table = self._tables[index] if index >= 0 else None
        if table is None or number >= table.first_chunk + table.count:
            raise ImageError(f"{self._name}: chunk {number} is not in it")
        entries, within = self._entries(index), number - table.first_chunk
        (entry,) = _ENTRY.unpack_from(entries, within * _ENTRY.size)
        start, end = table.base_bytes + (entry & ~_COMPRESSED), table.end_bytes
        if within + 1 < table.count:
            (following,) = _ENTRY.unpack_from(entries, (within + 1) * _ENTRY.size)
            end = table.base_bytes + (following & ~_COMPRESSED)
        wanted = min(self.chunk_bytes, self.size_bytes - number * self.chunk_bytes)
        # Compressed, a chunk is hardly ever larger than it was; more is not its own.
        raw = table.segment.read_at(start, max(0, min(end - start, 2 * self.chunk_bytes + 4096)))
        made = _unpacked(raw, wanted, self.chunk_bytes) if entry & _COMPRESSED else _checked(raw, wanted)
        if made is None:
            raise ImageError(
                f"{self._name}: chunk {number}, bytes {number * self.chunk_bytes} on of the disk, is damaged"
            )
        return made

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        end = min(offset_bytes + length, self.size_bytes)
        if offset_bytes < 0 or end <= offset_bytes:
            return b""
        first, last = offset_bytes // self.chunk_bytes, (end - 1) // self.chunk_bytes
        joined = b"".join(self._chunk(number) for number in range(first, last + 1))
        start = offset_bytes - first * self.chunk_bytes
        return joined[start : start + end - offset_bytes]

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        end = min(offset_bytes + length, self.size_bytes)
        if end > offset_bytes >= 0:
            yield offset_bytes, end - offset_bytes


def _unpacked(raw: bytes, wanted: int, chunk_bytes: int) -> bytes | None:
    """The last chunk may have been filled up to a whole one."""
    decoder = zlib.decompressobj()
    try:
        # One byte more, or it would stop before the checksum.
        made = decoder.decompress(raw, chunk_bytes + 1)
    except zlib.error:
        return None
    return made[:wanted] if decoder.eof and len(made) >= wanted else None


def _checked(raw: bytes, wanted: int) -> bytes | None:
    data, checksum = raw[:wanted], raw[wanted : wanted + 4]
    is_whole = len(checksum) == 4 and zlib.adler32(data) == _ENTRY.unpack(checksum)[0]
    return data if is_whole else None
