"""Which partition table a disk has, and in which size of sector it counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from twinfs.images.partitions import apm, bsd, gpt, mbr
from twinfs.images.partitions.table import PartitionTable, Scheme
from twinfs.images.protocol import ByteSource

_SECTOR_SIZES: Final = (512, 4096)


def read_table(
    disk: ByteSource, is_known: Callable[[ByteSource, int], bool], sector_size: int | None = None
) -> PartitionTable:
    """The disk's table; `Scheme.NONE` where it has none.

    `is_known(disk, offset_bytes)` tells whether a known file system starts there; `sector_size` is what
    the container says, where it does (VHDX), else both sizes are tried.
    """
    sizes = (sector_size,) if sector_size else _SECTOR_SIZES
    for size in sizes:
        table = gpt.parse(disk, size)
        if table is not None:
            return table
    table = apm.parse(disk)
    if table is not None:
        return table
    found = [table for size in sizes if (table := mbr.parse(disk, size)) is not None]
    if found and not _is_boot_sector_only(disk, found[0], is_known):
        return _likelier(disk, found, is_known)
    for size in sizes:
        table = bsd.parse(disk, size)
        if table is not None:
            return table
    return PartitionTable(Scheme.NONE, sizes[0])


def _is_boot_sector_only(
    disk: ByteSource, table: PartitionTable, is_known: Callable[[ByteSource, int], bool]
) -> bool:
    """A file system's boot sector may pass for a table, of which then no partition makes sense."""
    return all(each.problem for each in table.partitions) and is_known(disk, 0)


def _likelier(
    disk: ByteSource, tables: list[PartitionTable], is_known: Callable[[ByteSource, int], bool]
) -> PartitionTable:
    """An MBR does not tell its sector size: take the one under which file systems begin where it says."""

    def score(table: PartitionTable) -> int:
        return sum(
            is_known(disk, each.start_sector * table.sector_size)
            for each in table.partitions
            if not each.problem and not each.is_container
        )

    # max() keeps the first of equals: 512, unless 4096 explains more.
    best = max(tables, key=score)
    if best.sector_size == _SECTOR_SIZES[0]:
        return best
    warning = "the table counts sectors of 4096 bytes, judged by where file systems begin"
    return replace(best, warnings=(*best.warnings, warning))
