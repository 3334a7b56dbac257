"""The Apple partition map. Source: Inside Macintosh: Devices, chapter 3, "The Partition Map"."""

from __future__ import annotations

import struct
from typing import Final

from twinfs.images.partitions.checks import checked
from twinfs.images.partitions.table import Partition, PartitionTable, Scheme
from twinfs.images.protocol import ByteSource

_MAX_ENTRIES: Final = 256
_ENTRY: Final = struct.Struct(">2s2xIII32s32s")
_SECTOR_SIZES: Final = (512, 1024, 2048, 4096)


def parse(disk: ByteSource) -> PartitionTable | None:
    """The map, or None where there is none. Numbers count all entries, the map's own too, as Linux does."""
    driver = disk.read_at(0, 4)
    if driver[:2] != b"ER":
        return None
    sector_size = int.from_bytes(driver[2:4], "big")
    # CDs say 2048 and mean 512: the map itself knows better.
    candidates = [size for size in (sector_size, *_SECTOR_SIZES) if size in _SECTOR_SIZES]
    sector_size = next((size for size in candidates if disk.read_at(size, 2) == b"PM"), 0)
    if not sector_size:
        return None
    warnings: list[str] = []
    found: list[Partition] = []
    (_, count, *_) = _ENTRY.unpack(disk.read_at(sector_size, _ENTRY.size).ljust(_ENTRY.size, b"\0"))
    if count > _MAX_ENTRIES:
        warnings.append(f"the partition map claims {count} entries; {_MAX_ENTRIES} are read")
    for slot in range(1, min(count, _MAX_ENTRIES) + 1):
        raw = disk.read_at(slot * sector_size, _ENTRY.size)
        if len(raw) < _ENTRY.size or raw[:2] != b"PM":
            warnings.append(f"entry {slot} of the partition map is damaged")
            break
        _, _, start, sectors, name, kind = _ENTRY.unpack(raw)
        found.append(Partition(slot, start, sectors, _text(kind), name=_text(name)))
    partitions = checked(found, disk.size_bytes // sector_size)
    return PartitionTable(Scheme.APM, sector_size, partitions, warnings=tuple(warnings))


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("mac_roman")
