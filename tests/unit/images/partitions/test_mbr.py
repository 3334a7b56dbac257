from __future__ import annotations

import struct

from twinfs.images.partitions import mbr
from unit.images.memory import MemorySource

SECTORS = 10_000


def entry(kind: int, start: int, sectors: int, boot: int = 0) -> bytes:
    return struct.pack("<B3xB3xII", boot, kind, start, sectors)


def put_record(disk: MemorySource, sector: int, *entries: bytes) -> None:
    disk.put(sector * 512 + 446, b"".join(entries).ljust(64, b"\0"))
    disk.put(sector * 512 + 510, b"\x55\xaa")


def disk_with(*entries: bytes) -> MemorySource:
    disk = MemorySource.blank(SECTORS * 512)
    put_record(disk, 0, *entries)
    return disk


def parsed(disk: MemorySource):
    table = mbr.parse(disk, 512)
    assert table is not None
    return table


def numbers(disk: MemorySource) -> list[tuple[int, int, int]]:
    return [(each.index, each.start_sector, each.sectors) for each in parsed(disk).partitions]


def test_a_chain_that_loops_ends_with_a_warning_and_keeps_what_it_found():
    disk = disk_with(entry(0x83, 10, 10), entry(0x05, 1000, 5000))
    put_record(disk, 1000, entry(0x83, 1, 10), entry(0x05, 100, 100))
    put_record(disk, 1100, entry(0x83, 1, 10), entry(0x05, 0, 100))
    table = parsed(disk)
    assert [each.index for each in table.partitions] == [1, 2, 5, 6]
    assert "loops at sector 1000" in table.warnings[0]


def test_a_chain_that_breaks_keeps_the_primaries():
    disk = disk_with(entry(0x83, 10, 10), entry(0x05, 1000, 5000))
    assert [each.index for each in parsed(disk).partitions] == [1, 2]
    assert "breaks at sector 1000" in parsed(disk).warnings[0]


def test_a_chain_of_more_than_a_hundred_links_is_cut_off():
    disk = disk_with(entry(0x05, 1000, 9000))
    for link in range(200):
        put_record(disk, 1000 + 10 * link, entry(0x83, 1, 2), entry(0x05, 10 * (link + 1), 10))
    table = parsed(disk)
    assert len(table.partitions) == 101
    assert "more than 100 links" in table.warnings[0]


def test_garbage_in_the_third_entry_of_a_link_is_no_partition():
    disk = disk_with(entry(0x05, 1000, 5000))
    put_record(disk, 1000, entry(0x83, 1, 10), entry(0, 0, 0), entry(0x12, 7, 1 << 31), entry(0x83, 20, 10))
    assert numbers(disk) == [(1, 1000, 5000), (5, 1001, 10), (6, 1020, 10)]


def test_an_extended_record_whose_first_entry_leads_on_is_followed():
    disk = disk_with(entry(0x0F, 1000, 5000))
    put_record(disk, 1000, entry(0x05, 500, 100))
    put_record(disk, 1500, entry(0x83, 1, 50))
    assert numbers(disk) == [(1, 1000, 5000), (5, 1501, 50)]


def test_entries_that_make_no_sense_say_why():
    disk = disk_with(
        entry(0x83, 10, 100), entry(0x83, 50, 10), entry(0x83, SECTORS, 1), entry(0x83, SECTORS - 1, 2)
    )
    problems = [each.problem for each in parsed(disk).partitions]
    assert problems[0] == "overlaps partition 2"
    assert problems[1] == "overlaps partition 1"
    assert problems[2].startswith("starts at sector 10000")
    assert problems[3].startswith("ends at sector 10001")


def test_a_used_entry_without_sectors_is_shown_as_such():
    disk = disk_with(entry(0x83, 10, 0), entry(0x83, 20, 1))
    assert [each.problem for each in parsed(disk).partitions] == ["has no sectors", ""]


def test_a_boot_sector_with_code_where_the_entries_would_be_is_no_table():
    disk = MemorySource.blank(SECTORS * 512)
    disk.put(446, b"This is no bootable disk. Please insert a bootable floppy and")
    disk.put(510, b"\x55\xaa")
    assert mbr.parse(disk, 512) is None


def test_bsd_slices_are_numbered_after_the_logical_partitions():
    disk = disk_with(entry(0xA5, 2000, 2000), entry(0x05, 5000, 1000))
    put_record(disk, 5000, entry(0x83, 1, 10))
    label = bytearray(148 + 8 * 16)
    struct.pack_into("<I", label, 0, 0x82564557)
    struct.pack_into("<IHH", label, 132, 0x82564557, 0, 8)
    struct.pack_into("<IIIBBH", label, 148, 500, 16, 0, 7, 0, 0)
    struct.pack_into("<IIIBBH", label, 148 + 16, 400, 600, 0, 1, 0, 0)
    struct.pack_into("<IIIBBH", label, 148 + 32, 2000, 0, 0, 0, 0, 0)
    struct.pack_into("<IIIBBH", label, 148 + 48, 5000, 0, 0, 7, 0, 0)
    disk.put(2001 * 512, bytes(label))
    found = parsed(disk).partitions
    assert [(each.index, each.start_sector, each.sectors, each.type) for each in found] == [
        (1, 2000, 2000, "a5"),
        (2, 5000, 1000, "5"),
        (5, 5001, 10, "83"),
        (6, 2016, 500, "4.2BSD"),
        (7, 2600, 400, "swap"),
    ]
    assert [each.problem for each in found] == [""] * 5
