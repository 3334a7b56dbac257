"""An image in memory."""

from __future__ import annotations

from collections.abc import Iterator


class MemorySource:
    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    @classmethod
    def blank(cls, size_bytes: int) -> MemorySource:
        return cls(bytes(size_bytes))

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def put(self, offset_bytes: int, data: bytes) -> None:
        self.data[offset_bytes : offset_bytes + len(data)] = data

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        return bytes(self.data[offset_bytes : offset_bytes + length]) if offset_bytes >= 0 else b""

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        end = min(offset_bytes + length, len(self.data))
        if end > offset_bytes:
            yield offset_bytes, end - offset_bytes
