"""The MBR and its chain of extended boot records, as Linux reads them.

Source: block/partitions/msdos.c of Linux; the layout of an entry as in the UEFI specification 2.10,
5.2.1 "Legacy Master Boot Record".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from twinfs.images.partitions.bsd import parse_slice
from twinfs.images.partitions.checks import checked
from twinfs.images.partitions.table import Partition, PartitionTable, Scheme
from twinfs.images.protocol import ByteSource

GPT_TYPE: Final = 0xEE
_EXTENDED_TYPES: Final = (0x05, 0x0F, 0x85)
_BSD_TYPES: Final = {0xA5: "freebsd", 0xA6: "openbsd", 0xA9: "netbsd"}
_ENTRY: Final = struct.Struct("<B3xB3xII")
_ENTRIES_AT: Final = 446
_DISK_ID_AT: Final = 440
_MAX_CHAIN: Final = 100
"""As Linux: longer chains are somebody's joke."""


@dataclass(frozen=True, slots=True)
class Entry:
    boot_flag: int
    type: int
    start: int
    sectors: int

    @property
    def is_used(self) -> bool:
        return self.type != 0 and self.sectors != 0

    @property
    def is_extended(self) -> bool:
        return self.type in _EXTENDED_TYPES and self.sectors != 0


def entries(sector: bytes) -> list[Entry] | None:
    """The four entries, or None where the sector is no boot record."""
    if len(sector) < 512 or sector[510:512] != b"\x55\xaa":
        return None
    found = [Entry(*_ENTRY.unpack_from(sector, _ENTRIES_AT + 16 * slot)) for slot in range(4)]
    # A FAT or NTFS boot sector bears the signature, too, with code where the entries would be.
    return found if all(entry.boot_flag in (0, 0x80) for entry in found) else None


def parse(disk: ByteSource, sector_size: int) -> PartitionTable | None:
    """The table, or None where there is none. A damaged chain costs its logical partitions only."""
    sector = disk.read_at(0, 512)
    primaries = entries(sector)
    if primaries is None or not any(entry.type or entry.sectors for entry in primaries):
        return None
    found: list[Partition] = []
    logical: list[Partition] = []
    warnings: list[str] = []
    for slot, entry in enumerate(primaries, 1):
        if entry.type == 0 and entry.sectors == 0:
            continue
        found.append(_partition(slot, entry.start, entry))
        if entry.is_extended:
            logical += _walk(disk, sector_size, entry, 5 + len(logical), warnings)
    found += logical
    for each in tuple(found):
        flavour = _BSD_TYPES.get(int(each.type, 16))
        if flavour and each.sectors:
            following = max(5, 1 + max(partition.index for partition in found))
            found += parse_slice(disk, sector_size, each, flavour, following)
    disk_id = int.from_bytes(sector[_DISK_ID_AT : _DISK_ID_AT + 4], "little")
    return PartitionTable(
        scheme=Scheme.MBR,
        sector_size=sector_size,
        partitions=checked(found, disk.size_bytes // sector_size),
        id=f"0x{disk_id:08x}",
        warnings=tuple(warnings),
    )


def _partition(index: int, start: int, entry: Entry) -> Partition:
    return Partition(
        index=index,
        start_sector=start,
        sectors=entry.sectors,
        type=f"{entry.type:x}",
        is_bootable=entry.boot_flag == 0x80,
        is_container=entry.is_extended,
    )


def _walk(
    disk: ByteSource, sector_size: int, extended: Entry, first_index: int, warnings: list[str]
) -> list[Partition]:
    """The logical partitions of one extended partition. Loops end the walk, with a warning."""
    found: list[Partition] = []
    record, record_sectors = extended.start, extended.sectors
    seen: set[int] = set()
    while True:
        if record in seen or len(seen) >= _MAX_CHAIN:
            what = "loops" if record in seen else f"has more than {_MAX_CHAIN} links"
            warnings.append(f"the chain of logical partitions {what} at sector {record}")
            return found
        seen.add(record)
        listed = entries(disk.read_at(record * sector_size, 512))
        if listed is None:
            warnings.append(f"the chain of logical partitions breaks at sector {record}")
            return found
        for slot, entry in enumerate(listed):
            if _is_logical(slot, entry, record, record_sectors, extended):
                found.append(_partition(first_index + len(found), record + entry.start, entry))
        following = next((entry for entry in listed if entry.is_extended), None)
        if following is None:
            return found
        record, record_sectors = extended.start + following.start, following.sectors


def _is_logical(slot: int, entry: Entry, record: int, record_sectors: int, extended: Entry) -> bool:
    """The third and fourth entries of a link often hold garbage; Linux takes them only where they fit."""
    if not entry.is_used or entry.is_extended:
        return False
    if slot < 2:
        return True
    start, end = record + entry.start, record + entry.start + entry.sectors
    fits_link = entry.start + entry.sectors <= record_sectors
    return fits_link and start >= extended.start and end <= extended.start + extended.sectors


def hybrid_entries(sector: bytes) -> Iterator[Entry]:
    """What a GPT disk's MBR lists beside the protective entry."""
    for entry in entries(sector) or ():
        if entry.is_used and entry.type != GPT_TYPE:
            yield entry
