"""A stretch of another window: a partition of a disk."""

from __future__ import annotations

from collections.abc import Iterator

from twinfs.images.protocol import ByteSource, physical_of


class Window:
    """Bytes `offset_bytes` to `offset_bytes + size_bytes` of `whole`, cut off where that ends."""

    def __init__(self, whole: ByteSource, offset_bytes: int, size_bytes: int) -> None:
        self._whole = whole
        self._offset = max(0, min(offset_bytes, whole.size_bytes))
        self._size = max(0, min(size_bytes, whole.size_bytes - self._offset))

    @property
    def size_bytes(self) -> int:
        return self._size

    def _clip(self, offset_bytes: int, length: int) -> int:
        return max(0, min(length, self._size - offset_bytes)) if offset_bytes >= 0 else 0

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        length = self._clip(offset_bytes, length)
        return self._whole.read_at(self._offset + offset_bytes, length) if length else b""

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        length = self._clip(offset_bytes, length)
        for start, count in self._whole.data_ranges(self._offset + offset_bytes, length):
            yield start - self._offset, count

    def physical(self, offset_bytes: int, length: int) -> tuple[int, int] | None:
        length = self._clip(offset_bytes, length)
        return physical_of(self._whole, self._offset + offset_bytes, length) if length else None
