"""GUID partition tables: primary, else backup. Source: UEFI specification 2.10, 5.3 "GPT Disk Layout"."""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass
from typing import Final

from twinfs import words
from twinfs.errors import ImageError
from twinfs.images.partitions import mbr
from twinfs.images.partitions.checks import checked
from twinfs.images.partitions.table import Partition, PartitionTable, Scheme
from twinfs.images.protocol import ByteSource

_HEADER: Final = struct.Struct("<8sIII4xQQQQ16sQIII")
_SIGNATURE: Final = b"EFI PART"
_ENTRY: Final = struct.Struct("<16s16sQQQ72s")
_MAX_ENTRIES: Final = 4096
"""The standard gives 128; sgdisk makes more when told. Each costs a line of output, no more."""
_ATTRIBUTES: Final = {0: "RequiredPartition", 1: "NoBlockIOProtocol", 2: "LegacyBIOSBootable"}


@dataclass(frozen=True, slots=True)
class _Header:
    own_sector: int
    other_sector: int
    disk_id: str
    entries: bytes
    entry_size: int


def _read_header(disk: ByteSource, sector_size: int, sector: int) -> _Header | str:
    """The header at `sector` with its entries, or what is wrong with it; empty: nothing like one is there."""
    raw = disk.read_at(sector * sector_size, sector_size)
    if len(raw) < _HEADER.size or raw[:8] != _SIGNATURE:
        return ""
    fields = _HEADER.unpack_from(raw)
    _, _, size, crc, own, other, _first, _last, disk_id, entries_at, count, entry_size, entries_crc = fields
    if not _HEADER.size <= size <= sector_size:
        return f"its header claims {size} bytes"
    if zlib.crc32(raw[:16] + bytes(4) + raw[20:size]) != crc:
        return "the checksum of its header is wrong"
    if own != sector:
        return f"its header claims to be at sector {own}"
    if entry_size < 128 or entry_size % 8 or count > _MAX_ENTRIES or count * entry_size > 4 << 20:
        claimed = words.count(count, "entry", "entries")
        return f"its header claims {claimed} of {words.count(entry_size, 'byte')}"
    entries = disk.read_at(entries_at * sector_size, count * entry_size)
    if len(entries) < count * entry_size or zlib.crc32(entries) != entries_crc:
        return "the checksum of its entries is wrong"
    return _Header(own, other, _guid(disk_id), entries, entry_size)


def _read_backup(disk: ByteSource, sector_size: int, sector: int) -> _Header | str:
    """As `_read_header`. The end of an image that was cut off may be unreadable, which the rest is not."""
    try:
        return _read_header(disk, sector_size, sector)
    except ImageError as error:
        return str(error)


def parse(disk: ByteSource, sector_size: int) -> PartitionTable | None:
    """The table, or None where there is none. Says when the backup had to serve."""
    sector = disk.read_at(0, 512)
    listed = mbr.entries(sector)
    is_protected = listed is not None and any(entry.type == mbr.GPT_TYPE for entry in listed)
    has_other_table = listed is not None and not is_protected and any(entry.is_used for entry in listed)
    if has_other_table:
        return None  # somebody made an MBR table over an old GPT: Linux, too, believes the MBR
    warnings: list[str] = []
    header = _find(disk, sector_size, is_protected=is_protected, warnings=warnings)
    if header is None:
        return None
    if not is_protected:
        warnings.append("the GPT has no protective MBR; other systems may not see it")
    found = _partitions(header)
    extra = tuple(mbr.hybrid_entries(sector))
    if extra:
        warnings.append(f"a hybrid MBR lists {len(extra)} of these partitions a second time")
    return PartitionTable(
        scheme=Scheme.HYBRID if extra else Scheme.GPT,
        sector_size=sector_size,
        partitions=checked(found, disk.size_bytes // sector_size),
        id=header.disk_id,
        warnings=tuple(warnings),
    )


def _find(disk: ByteSource, sector_size: int, *, is_protected: bool, warnings: list[str]) -> _Header | None:
    last_sector = disk.size_bytes // sector_size - 1
    primary = _read_header(disk, sector_size, 1)
    if isinstance(primary, _Header):
        if primary.other_sector != last_sector:
            warnings.append(f"the backup GPT is said to be at sector {primary.other_sector}, not the last")
        elif not isinstance(_read_backup(disk, sector_size, last_sector), _Header):
            warnings.append("the backup GPT is damaged")
        return primary
    backup = _read_backup(disk, sector_size, last_sector) if last_sector > 1 else ""
    if isinstance(backup, _Header) and (is_protected or primary):
        warnings.append(f"the primary GPT is damaged ({primary or 'it is not there'}); the backup is used")
        return backup
    return None


def _partitions(header: _Header) -> list[Partition]:
    found = []
    for slot in range(len(header.entries) // header.entry_size):
        kind, own_id, first, last, flags, name = _ENTRY.unpack_from(header.entries, slot * header.entry_size)
        if kind == bytes(16):
            continue
        found.append(
            Partition(
                index=slot + 1,
                start_sector=first,
                sectors=max(0, last - first + 1),
                type=_guid(kind),
                name=_text(name),
                uuid=_guid(own_id),
                is_bootable=bool(flags & 4),
                attributes=_attributes(flags),
            )
        )
    return found


def _guid(raw: bytes) -> str:
    return str(uuid.UUID(bytes_le=raw)).upper()


def _text(raw: bytes) -> str:
    return raw.decode("utf-16-le", "replace").split("\0", 1)[0]


def _attributes(flags: int) -> str:
    """As sfdisk writes them: the firmware's by name, then those of the type by number."""
    names = [name for bit, name in _ATTRIBUTES.items() if flags >> bit & 1]
    numbers = [str(bit) for bit in range(48, 64) if flags >> bit & 1]
    return " ".join([*names, *([f"GUID:{','.join(numbers)}"] if numbers else [])])
