from __future__ import annotations

import struct
import uuid
import zlib

from twinfs.images.partitions import gpt
from twinfs.images.partitions.table import Scheme
from unit.images.memory import MemorySource
from unit.images.partitions.test_mbr import entry, put_record

SECTORS = 5000
LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4").bytes_le


def header(own: int, other: int, entries: bytes, entries_at: int, **changes: int) -> bytes:
    values = {"count": len(entries) // 128, "entry_size": 128, "size": 92, **changes}
    fields = [own, other, 34, SECTORS - 34, bytes(range(16)), entries_at]
    tail = [values["count"], values["entry_size"], zlib.crc32(entries)]
    raw = bytearray(
        struct.pack("<8sIII4xQQQQ16sQIII", b"EFI PART", 0x10000, values["size"], 0, *fields, *tail)
    )
    struct.pack_into("<I", raw, 16, zlib.crc32(raw[: values["size"]]))
    return bytes(raw)


def partition(start: int, end: int, name: str = "", flags: int = 0) -> bytes:
    return struct.pack("<16s16sQQQ72s", LINUX, bytes(16), start, end, flags, name.encode("utf-16-le"))


def disk_with(*partitions: bytes, **changes: int) -> MemorySource:
    disk = MemorySource.blank(SECTORS * 512)
    put_record(disk, 0, entry(0xEE, 1, SECTORS - 1))
    entries = b"".join(partitions).ljust(128 * 128, b"\0")
    for own, other, entries_at in ((1, SECTORS - 1, 2), (SECTORS - 1, 1, SECTORS - 33)):
        disk.put(own * 512, header(own, other, entries, entries_at, **changes))
        disk.put(entries_at * 512, entries)
    return disk


def test_partitions_are_numbered_by_their_entry():
    table = gpt.parse(disk_with(partition(100, 199, "a"), bytes(128), partition(200, 200, "c")), 512)
    assert [(each.index, each.start_sector, each.sectors, each.name) for each in table.partitions] == [
        (1, 100, 100, "a"),
        (3, 200, 1, "c"),
    ]
    assert table.warnings == ()


def test_entries_with_a_wrong_checksum_are_read_from_the_backup():
    disk = disk_with(partition(100, 199))
    disk.put(2 * 512 + 32, b"\x01")
    table = gpt.parse(disk, 512)
    assert table.partitions[0].start_sector == 100
    assert "checksum of its entries" in table.warnings[0]


def test_both_copies_damaged_is_no_table():
    disk = disk_with(partition(100, 199))
    disk.put(512 + 17, b"\xff\xff")
    disk.put((SECTORS - 1) * 512 + 17, b"\xff\xff")
    assert gpt.parse(disk, 512) is None


def test_a_damaged_backup_is_told():
    disk = disk_with(partition(100, 199))
    disk.put((SECTORS - 1) * 512, bytes(512))
    assert "backup GPT is damaged" in gpt.parse(disk, 512).warnings[0]


def test_a_partition_that_ends_before_it_starts_has_a_problem():
    table = gpt.parse(disk_with(partition(200, 100)), 512)
    assert table.partitions[0].problem == "has no sectors"


def test_a_header_that_claims_a_billion_entries_is_refused():
    assert gpt.parse(disk_with(partition(1, 2), count=1 << 30), 512) is None
    assert gpt.parse(disk_with(partition(1, 2), entry_size=1 << 31), 512) is None
    assert gpt.parse(disk_with(partition(1, 2), entry_size=8), 512) is None


def test_an_mbr_made_over_an_old_gpt_counts():
    disk = disk_with(partition(100, 199))
    put_record(disk, 0, entry(0x83, 50, 50))
    assert gpt.parse(disk, 512) is None


def test_a_hybrid_mbr_is_told_and_the_gpt_counts():
    disk = disk_with(partition(100, 199))
    put_record(disk, 0, entry(0xEE, 1, 99), entry(0x83, 100, 100))
    table = gpt.parse(disk, 512)
    assert table.scheme is Scheme.HYBRID
    assert [each.start_sector for each in table.partitions] == [100]


def test_a_gpt_without_its_protective_mbr_is_read_and_told():
    disk = disk_with(partition(100, 199))
    disk.put(0, bytes(512))
    assert "protective" in gpt.parse(disk, 512).warnings[0]
