"""BSD disklabels: in a slice of an MBR, or on a whole disk.

Source: block/partitions/msdos.c of Linux (struct bsd_disklabel); the names of types as in FreeBSD's
sys/disklabel.h.
"""

from __future__ import annotations

import struct
from typing import Final

from twinfs.images.partitions.checks import checked
from twinfs.images.partitions.table import Partition, PartitionTable, Scheme
from twinfs.images.protocol import ByteSource

_MAGIC: Final = bytes.fromhex("57455682")
_FIRST_SECTOR_OFFSET: Final = 64
"""Where some machines, and parted, keep the label: in the first sector, not at the second's start."""
_LABEL_BYTES: Final = 148 + 16 * 22
_PARTITION: Final = struct.Struct("<IIIBBH")
_TYPE_NAMES: Final = {
    0: "unused",
    1: "swap",
    7: "4.2BSD",
    8: "MSDOS",
    9: "4.4LFS",
    11: "HPFS",
    12: "ISO9660",
    13: "boot",
    14: "vinum",
    15: "raid",
    17: "ext2fs",
    18: "NTFS",
    20: "ccd",
    27: "ZFS",
}
_RAW_SLOT: Final = 2
"""Partition c stands for the whole slice."""


def _label(disk: ByteSource, sector_size: int, start_sector: int) -> list[tuple[int, int, int]] | None:
    """(sectors, start, type) of each entry, or None where there is no label."""
    for offset in ((start_sector + 1) * sector_size, start_sector * sector_size + _FIRST_SECTOR_OFFSET):
        raw = disk.read_at(offset, _LABEL_BYTES)
        if len(raw) >= 148 and raw[:4] == raw[132:136] == _MAGIC:
            break
    else:
        return None
    _checksum, count = struct.unpack_from("<HH", raw, 136)
    listed = []
    for slot in range(min(count, (len(raw) - 148) // 16)):
        sectors, start, _fragment, kind, _, _ = _PARTITION.unpack_from(raw, 148 + 16 * slot)
        listed.append((sectors, start, kind))
    return listed


def _name(kind: int) -> str:
    return _TYPE_NAMES.get(kind, f"type {kind}")


def parse_slice(
    disk: ByteSource, sector_size: int, parent: Partition, flavour: str, first_index: int
) -> list[Partition]:
    """The partitions in one slice of an MBR, numbered on from `first_index` as Linux does."""
    listed = _label(disk, sector_size, parent.start_sector) or []
    # FreeBSD counts from the slice's start where its raw partition does.
    is_relative = flavour == "freebsd" and len(listed) > _RAW_SLOT and listed[_RAW_SLOT][1] == 0
    base = parent.start_sector if is_relative else 0
    found: list[Partition] = []
    for slot, (sectors, start, kind) in enumerate(listed):
        first = base + start
        is_parent = first == parent.start_sector and sectors == parent.sectors
        if kind == 0 or is_parent:
            continue
        if first < parent.start_sector or first + sectors > parent.end_sector:
            continue  # as Linux: what reaches out of its slice is no partition
        letter = f"{flavour} {chr(ord('a') + slot)}"
        found.append(
            Partition(first_index + len(found), first, sectors, _name(kind), name=letter, inside=parent.index)
        )
    return found


def parse(disk: ByteSource, sector_size: int) -> PartitionTable | None:
    """A label on a disk without slices; partition a is number 1, and so on."""
    listed = _label(disk, sector_size, 0)
    if listed is None:
        return None
    found = [
        Partition(slot + 1, start, sectors, _name(kind), name=chr(ord("a") + slot))
        for slot, (sectors, start, kind) in enumerate(listed)
        if kind != 0 and slot != _RAW_SLOT
    ]
    partitions = checked(found, disk.size_bytes // sector_size)
    return PartitionTable(Scheme.BSD, sector_size, partitions)
