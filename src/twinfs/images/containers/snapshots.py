"""What a qcow2 keeps of itself: internal snapshots, by name.

A snapshot is another first-level table. So a copy of the header that points there makes the same file the
disk as it was. Source: docs/interop/qcow2.txt of QEMU, "Snapshots".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.protocol import ByteSource

_COUNT: Final = struct.Struct(">IQ")
_COUNT_AT: Final = 60
_ENTRY: Final = struct.Struct(">QIHHI12xII")
_SIZE_AT, _TABLE_AT = 24, 36
_TABLE: Final = struct.Struct(">IQ")
_MAX_SNAPSHOTS: Final = 1000
_MAX_NAME_BYTES: Final = 200
_MAX_EXTRA_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Snapshot:
    name: bytes
    """No two have the same."""
    file: ByteSource
    """The container, as if the disk were still as it was then."""
    id: bytes = b""
    """QEMU's, a number in digits."""
    created_seconds: int = 0
    """Since 1970."""
    size_bytes: int = 0
    """Of the disk, then."""
    state_bytes: int = 0
    """Of the machine's memory, which is kept with it if it was running."""


def snapshots_of(qcow2: ByteSource) -> tuple[Snapshot, ...]:
    """As far as the table can be read. Raises ImageError only where the file cannot be."""
    raw = qcow2.read_at(_COUNT_AT, _COUNT.size)
    if len(raw) < _COUNT.size:
        return ()
    count, at = _COUNT.unpack(raw)
    found: dict[bytes, Snapshot] = {}
    for _ in range(min(count, _MAX_SNAPSHOTS)):
        head = qcow2.read_at(at, _ENTRY.size)
        if len(head) < _ENTRY.size:
            break
        table, entries, id_bytes, name_bytes, created, state, extra_bytes = _ENTRY.unpack(head)
        if extra_bytes > _MAX_EXTRA_BYTES:
            break
        start = at + _ENTRY.size
        extra = qcow2.read_at(start, extra_bytes)
        text = qcow2.read_at(start + extra_bytes, id_bytes + name_bytes)
        own_id, name = text[:id_bytes], text[id_bytes:] or text[:id_bytes]
        if name in found or len(name) > _MAX_NAME_BYTES:
            name = name[:_MAX_NAME_BYTES] + b"-" + own_id[:32]
        # Old ones do not say how large the disk was.
        size = extra[8:16] if len(extra) >= 16 else qcow2.read_at(_SIZE_AT, 8)
        patches = {_SIZE_AT: size, _TABLE_AT: _TABLE.pack(entries, table)}
        if name:
            state = int.from_bytes(extra[:8], "big") if len(extra) >= 8 else state
            file, disk = _Patched(qcow2, patches), int.from_bytes(size, "big")
            found[name] = Snapshot(name, file, own_id, created, disk, state)
        at = -(-(start + extra_bytes + id_bytes + name_bytes) // 8) * 8
    return tuple(found.values())


class _Patched:
    """A file of which some bytes read as others."""

    def __init__(self, whole: ByteSource, patches: dict[int, bytes]) -> None:
        self._whole = whole
        self._patches = patches
        if any(not patch for patch in patches.values()):
            raise ImageError("qcow2: its header is cut off")

    @property
    def size_bytes(self) -> int:
        return self._whole.size_bytes

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        found = self._whole.read_at(offset_bytes, length)
        for at, patch in self._patches.items():
            first, last = max(at, offset_bytes), min(at + len(patch), offset_bytes + len(found))
            if first < last:
                changed = bytearray(found)
                changed[first - offset_bytes : last - offset_bytes] = patch[first - at : last - at]
                found = bytes(changed)
        return found

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        return self._whole.data_ranges(offset_bytes, length)
