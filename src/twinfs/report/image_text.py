"""What an image holds, for eyes."""

from __future__ import annotations

import stat
import time
import unicodedata
from collections.abc import Sequence
from typing import Final

from twinfs.imageinfo import ImageInfo, ImageLogicalVolume, ImagePartition, ImageSnapshot
from twinfs.report.human import size

_HEADINGS: Final = ("", "start", "sectors", "size", "type", "file system", "label", "free", "name")
_LOGICAL_HEADINGS: Final = ("logical volume", "size", "file system", "label", "free")
_SNAPSHOT_HEADINGS: Final = ("snapshot", "size", "made", "memory")
_RIGHT: Final = (1, 2, 3, 7)
_SHORT_TYPES: Final = {
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B": "EFI system",
    "0FC63DAF-8483-4772-8E79-3D69D8477DE4": "Linux",
    "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F": "Linux swap",
    "E6D6D379-F507-44C2-A23C-238F2A3DF928": "Linux LVM",
    "A19D880F-05FC-4D3B-A006-743F0F84911E": "Linux RAID",
    "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7": "Microsoft data",
    "E3C9E316-0B5C-4DB8-817D-F92DF00215AE": "Microsoft reserved",
    "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC": "Windows recovery",
    "21686148-6449-6E6F-744E-656564454649": "BIOS boot",
    "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709": "Linux root (x86-64)",
    "48465300-0000-11AA-AA11-00306543ECAC": "Apple HFS+",
    "7C3457EF-0000-11AA-AA11-00306543ECAC": "Apple APFS",
}


def printable(text: str) -> str:
    """Without control characters: a label must not be able to move the cursor of whoever lists it."""
    return "".join("?" if unicodedata.category(char) in ("Cc", "Cf", "Cs") else char for char in text)


def info_text(info: ImageInfo) -> str:
    """A head, a table of the partitions, and what is wrong with them."""
    unit = "byte" if info.virtual_size_bytes == 1 else "bytes"
    total = f"{size(info.virtual_size_bytes)} ({info.virtual_size_bytes} {unit})"
    lines = [f"{info.container} image, {total}, sectors of {info.sector_size} bytes"]
    scheme = f"partition table: {info.scheme} {info.id}".rstrip()
    lines.append("no partition table" if info.scheme == "none" else scheme)
    rows = [_HEADINGS, *map(_row, info.partitions)]
    lines += ["", *table(rows, _RIGHT)] if info.partitions else []
    if info.logical_volumes:
        lines += ["", *table([_LOGICAL_HEADINGS, *map(_logical_row, info.logical_volumes)], (1, 4))]
    if info.snapshots:
        lines += ["", *table([_SNAPSHOT_HEADINGS, *map(_snapshot_row, info.snapshots)], (1, 3))]
    notes = [*info.warnings]
    for volume in info.logical_volumes:
        notes += [f"{volume.name}: {text}" for text in (*volume.warnings, volume.problem) if text]
    for each in info.partitions:
        notes += [f"p{each.index}: {text}" for text in (*each.warnings, each.problem) if text]
    if notes:
        lines += ["", *(f"warning: {printable(note)}" for note in notes)]
    return "\n".join(lines)


def _logical_row(each: ImageLogicalVolume) -> tuple[str, ...]:
    free = "" if each.free_bytes is None or not each.total_bytes else size(each.free_bytes)
    return printable(each.name), size(each.size_bytes), each.filesystem or "-", printable(each.label), free


def _snapshot_row(each: ImageSnapshot) -> tuple[str, ...]:
    when = _local_time(each.created_seconds)
    return (
        printable(each.path),
        size(each.size_bytes),
        when,
        size(each.state_bytes) if each.state_bytes else "-",
    )


def _local_time(seconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return str(seconds)


def _row(each: ImagePartition) -> tuple[str, ...]:
    return (
        f"p{each.index}{'*' if each.bootable else ''}",
        str(each.start_sector),
        str(each.sectors),
        size(each.size_bytes),
        _SHORT_TYPES.get(each.type, each.type),
        each.filesystem or "-",
        printable(each.label),
        "" if each.free_bytes is None or not each.total_bytes else size(each.free_bytes),
        printable(each.name),
    )


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Columns two spaces apart; those in `right` end flush."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def long_line(
    mode: int, links: int, uid: int, gid: int, size_or_device: str, mtime_ns: int, name: str
) -> str:
    """As `ls -ln` has it, with seconds and the year."""
    when = _local_time(mtime_ns // 1_000_000_000)
    owner = f"{uid:>5} {gid:>5}"
    return f"{stat.filemode(mode)} {links:>3} {owner} {size_or_device:>12} {when:>19} {name}"
