"""The log: whether all it holds has reached its place.

A clean unmount ends the log with a record of its own; anything else at its head means that changes may be
in the log only. They are not replayed: what is read is the state before them.
Source: XFS Algorithms & Data Structures, "Journaling Log"; Linux, xlog_find_head() and
xlog_check_unmount_rec().
"""

from __future__ import annotations

import struct

from twinfs.errors import ImageError
from twinfs.images.xfs.disk import Disk

_SECTOR = 512
_MAGIC = b"\xfe\xed\xba\xbe"
_HEADER = struct.Struct(">IIIIQQIIi")
_SIZE_AT = 320
"""Of the largest record, which decides how many sectors of headers each has."""
_HEADER_COVERS = 32 << 10
_OPERATION_FLAGS_AT = 9
_UNMOUNT = 0x20
_LONGEST_RECORD = (256 << 10) // _SECTOR + 8


def warning(disk: Disk) -> str | None:
    """What to say of the log; None: the file system was unmounted cleanly."""
    if not disk.superblock.log_start:
        return "the log is on another device: whether all changes have left it is not known"
    try:
        if _Log(disk).is_clean():
            return None
    except ImageError as error:
        return f"the log cannot be read, so changes may be missing ({error})"
    return (
        "it was not unmounted cleanly: the latest changes are in its log only and not shown;"
        " files may look older than they are, or damaged"
    )


class _Log:
    """The log as a ring of sectors. Each begins with the number of the round in which it was written."""

    def __init__(self, disk: Disk) -> None:
        superblock = disk.superblock
        self._disk = disk
        self._start = superblock.block_offset(superblock.log_start, superblock.log_blocks)
        self._sectors = (superblock.log_blocks << superblock.block_log) // _SECTOR
        if not self._sectors:
            raise ImageError("xfs: the log is empty")

    def is_clean(self) -> bool:
        """Whether the record before the head is that of an unmount, and ends at the head."""
        head = self._head()
        if head == 0 and self._round(0) == 0:
            return True  # never written
        window = min(_LONGEST_RECORD, self._sectors)
        recent = self._read(head - window, window)
        at = recent.rfind(_MAGIC)
        while at >= 0 and at % _SECTOR:
            at = recent.rfind(_MAGIC, 0, at)
        if at < 0:
            return False
        _, _, version, length, _, _, _, _, operations = _HEADER.unpack_from(recent, at)
        (size,) = struct.unpack_from(">I", recent, at + _SIZE_AT)
        headers = max(1, -(-size // _HEADER_COVERS)) if version & 2 else 1
        flags_at = at + headers * _SECTOR + _OPERATION_FLAGS_AT
        ends_at = at + headers * _SECTOR + -(-length // _SECTOR) * _SECTOR
        is_unmount = flags_at < len(recent) and bool(recent[flags_at] & _UNMOUNT)
        return bool(operations == 1 and is_unmount and ends_at == len(recent))

    def _head(self) -> int:
        """The sector that will be written next: the first one of an older round than the log's beginning."""
        first = self._round(0)
        low, high = 0, self._sectors
        while high - low > 1:
            middle = (low + high) // 2
            if self._round(middle) == first:
                low = middle
            else:
                high = middle
        return high % self._sectors if first else 0

    def _round(self, sector: int) -> int:
        raw = self._read(sector, 1)
        return int.from_bytes(raw[4:8] if raw[:4] == _MAGIC else raw[:4], "big")

    def _read(self, sector: int, count: int) -> bytes:
        """Sectors from one on, which may be negative, around the ring."""
        sector %= self._sectors
        before_end = min(count, self._sectors - sector)
        data = self._disk.read(self._start + sector * _SECTOR, before_end * _SECTOR, "log")
        if before_end < count:
            data += self._disk.read(self._start, (count - before_end) * _SECTOR, "log")
        return data
