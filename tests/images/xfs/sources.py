"""Images as byte sources: a file, and one with some of its bytes changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


class FileSource:
    """An image file, sparse or not."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self.size_bytes = os.fstat(self._file).st_size
        self.reads: list[tuple[int, int]] = []

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        self.reads.append((offset_bytes, length))
        return os.pread(self._file, length, offset_bytes)

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        yield offset_bytes, length

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> FileSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ChangedSource:
    """Another source in memory, as far as it was read before, with bytes changed or the end cut off."""

    def __init__(self, parts: dict[tuple[int, int], bytes], size_bytes: int) -> None:
        self._parts = parts
        self.size_bytes = size_bytes
        self.changes: dict[int, bytes] = {}
        self.metadata: list[tuple[int, int]] = []
        """(offset, length) of the parts that are worth damaging."""

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        length = max(min(length, self.size_bytes - offset_bytes), 0)
        if length > 16 << 20:
            raise AssertionError(f"{length} bytes wanted at once")
        data = self._parts.get((offset_bytes, length)) or self._assembled(offset_bytes, length)
        for at, change in self.changes.items():
            if offset_bytes < at + len(change) and at < offset_bytes + length:
                patched = bytearray(data)
                for index, byte in enumerate(change, at - offset_bytes):
                    if 0 <= index < length:
                        patched[index] = byte
                data = bytes(patched)
        return data

    def parts(self) -> list[bytes]:
        return list(self._parts.values())

    def part(self, part: tuple[int, int]) -> bytes:
        """A part as it was read."""
        return self._parts[part]

    def _assembled(self, offset_bytes: int, length: int) -> bytes:
        """From all parts that overlap; what was never read is zeros."""
        found = bytearray(length)
        for (start, size), data in self._parts.items():
            low, high = max(start, offset_bytes), min(start + size, offset_bytes + length)
            if low < high:
                found[low - offset_bytes : high - offset_bytes] = data[low - start : high - start]
        return bytes(found)

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        yield offset_bytes, length


def recorded(source: FileSource, metadata: set[tuple[int, int]] | None = None) -> ChangedSource:
    """All that was read of a source so far, to be changed. `metadata`: which of it are no files' contents."""
    parts = {part: source.read_at(*part) for part in set(source.reads)}
    changed = ChangedSource(parts, source.size_bytes)
    changed.metadata = sorted(metadata or ())
    return changed
