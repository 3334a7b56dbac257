"""Logical volumes as windows of bytes over their physical volumes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from twinfs.errors import ImageError
from twinfs.images.lvm.group import Layout
from twinfs.images.protocol import ByteSource


class _Piece(NamedTuple):
    """A run of a logical volume that lies together in one source."""

    start: int
    length: int
    source: ByteSource
    offset: int


class LogicalVolumeSource:
    """A `twinfs.images.protocol.ByteSource`. Safe to use from threads."""

    def __init__(self, layout: Layout, sources: Mapping[str, ByteSource]) -> None:
        self._layout = layout
        self._starts = [segment.start for segment in layout.segments]
        self._sources = sources

    @property
    def size_bytes(self) -> int:
        return self._layout.size_bytes

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        """Raises ImageError where a physical volume ends before it should."""
        parts = []
        for piece in self._pieces(offset_bytes, length):
            data = piece.source.read_at(piece.offset, piece.length)
            if len(data) != piece.length:
                raise ImageError(f"lvm: volume {self._layout.name}: its disk ends before byte {piece.start}")
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        """As the physical volumes' own; ranges that touch are one."""
        begun = (offset_bytes, 0)
        for piece in self._pieces(offset_bytes, length):
            for offset, size in piece.source.data_ranges(piece.offset, piece.length):
                start = piece.start + offset - piece.offset
                if begun[1] and sum(begun) == start:
                    begun = (begun[0], begun[1] + size)
                    continue
                if begun[1]:
                    yield begun
                begun = (start, size)
        if begun[1]:
            yield begun

    def _pieces(self, offset_bytes: int, length: int) -> Iterator[_Piece]:
        at, end = offset_bytes, min(offset_bytes + length, self.size_bytes)
        index = max(bisect_right(self._starts, at) - 1, 0)
        while at < end:
            segment = self._layout.segments[index]
            within = at - segment.start
            row, in_stripe = divmod(within, segment.stripe_bytes)
            turn, column = divmod(row, len(segment.parts))
            size = min(segment.stripe_bytes - in_stripe, segment.length - within, end - at)
            part = segment.parts[column]
            offset = part.offset_bytes + turn * segment.stripe_bytes + in_stripe
            yield _Piece(at, size, self._sources[part.volume], offset)
            at += size
            if at >= segment.start + segment.length:
                index += 1


class UnreadableSource:
    """In the place of a logical volume that cannot be read: every use of it says why."""

    def __init__(self, size_bytes: int, reason: str) -> None:
        self.size_bytes = size_bytes
        self._reason = reason

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        raise ImageError(self._reason)

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        raise ImageError(self._reason)
