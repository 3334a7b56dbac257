"""Tables made by sfdisk and parted, and what sfdisk, fdisk, parted and blkid say of them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from support.images import MIB, OpenImage, blank, blkid, copy_in, sfdisk, sfdisk_json, tool, write_at
from twinfs.images.info import describe
from twinfs.images.tree import ImageTree

SCRIPTS = {
    "one_primary": "label: dos\nlabel-id: 0x12345678\nstart=2048, size=20480, type=83, bootable\n",
    "gaps_in_the_slots": "label: dos\n2 : start=2048, size=2048, type=7\n4 : start=8192, size=2048, type=c\n",
    "logical": (
        "label: dos\nstart=2048, size=2048, type=83\nstart=4096, size=40960, type=f\n"
        "start=6144, size=2048, type=83\nstart=10240, size=4096, type=82\nstart=16384, size=2048, type=b\n"
    ),
    "primaries_out_of_order": "label: dos\nstart=20480, size=2048\nstart=2048, size=2048\n",
    "gpt": (
        "label: gpt\nfirst-lba: 34\nstart=2048, size=2048, type=U, name=EFI, attrs=RequiredPartition\n"
        'start=40, size=100, type=L, name="größe /../ x"\n'
        'start=8192, size=4096, type=S, attrs="LegacyBIOSBootable GUID:48,63"\n'
    ),
    "gpt_with_numbers": "label: gpt\n7 : start=2048, size=2048\n128 : start=4096, size=2048\n",
    "gpt_without_partitions": "label: gpt\n",
}


def our_view(path: Path) -> dict:
    with OpenImage(path) as image:
        found = describe(image)
    return {
        "id": found.id.lower(),
        "partitions": [
            (each.index, each.start_sector, each.sectors, each.type.lower(), each.name, each.bootable)
            for each in found.partitions
            if each.index
        ],
        "attributes": [each.attributes for each in found.partitions if each.index],
        "uuids": [each.partition_uuid for each in found.partitions if each.index],
    }


def sfdisk_view(path: Path) -> dict:
    found = sfdisk_json(path)
    partitions = found.get("partitions", [])
    return {
        "id": found["id"].lower(),
        "partitions": [
            (
                int(re.fullmatch(re.escape(str(path)) + r"p?(\d+)", each["node"])[1]),
                each["start"],
                each["size"],
                each["type"].lower(),
                each.get("name", ""),
                each.get("bootable", False) or "LegacyBIOSBootable" in each.get("attrs", ""),
            )
            for each in partitions
        ],
        "attributes": [each.get("attrs", "") for each in partitions],
        "uuids": [each.get("uuid", "") for each in partitions],
    }


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_table_is_what_sfdisk_says(tmp_path, name):
    path = blank(tmp_path / "disk", 64 * MIB)
    sfdisk(path, SCRIPTS[name])
    assert our_view(path) == sfdisk_view(path)


@pytest.mark.parametrize("name", ["one_primary", "logical", "gpt"])
def test_start_sectors_are_those_of_fdisk(tmp_path, name):
    path = blank(tmp_path / "disk", 64 * MIB)
    sfdisk(path, SCRIPTS[name])
    listed = tool("fdisk", "-l", "-u", "-o", "Device,Start,Sectors", path)
    rows = re.findall(rf"^{re.escape(str(path))}p?(\d+)\s+(\d+)\s+(\d+)$", listed, re.MULTILINE)
    assert sorted(tuple(map(int, row)) for row in rows) == [each[:3] for each in our_view(path)["partitions"]]


@pytest.mark.parametrize(
    ("label", "sector_size"), [("msdos", 512), ("gpt", 512), ("mac", 512), ("bsd", 512), ("gpt", 4096)]
)
def test_tables_by_parted_are_what_parted_says(tmp_path, label, sector_size):
    path = blank(tmp_path / "disk", 64 * MIB)
    environment = {"PARTED_SECTOR_SIZE": str(sector_size)}
    kinds = {"msdos": "primary", "gpt": "part1", "mac": "untitled", "bsd": ""}
    make = f"mklabel {label}"
    for start, end in ((2, 10), (10, 30)):
        make += f" mkpart {kinds[label]} ext2 {start}MiB {end}MiB"
    tool("parted", "--script", "--align=none", path, *make.split(), **environment)
    listed = tool("parted", "--script", "--machine", path, "unit", "s", "print", **environment)
    rows = re.findall(r"^(\d+):(\d+)s:\d+s:(\d+)s:", listed, re.MULTILINE)
    assert len(rows) >= 2
    # The Apple map lists free space, too, and so does Linux; parted does not.
    ours = [each[:3] for each in our_view(path)["partitions"] if each[3] != "apple_free"]
    assert sorted(tuple(map(int, row)) for row in rows) == ours


def test_a_gpt_counted_in_sectors_of_4096_bytes_is_found(tmp_path):
    path = blank(tmp_path / "disk", 64 * MIB)
    words = ["mklabel", "gpt", "mkpart", "large", "ext2", "2MiB", "10MiB"]
    tool("parted", "--script", "--align=none", path, *words, PARTED_SECTOR_SIZE="4096")
    with OpenImage(path) as image:
        found = describe(image)
    assert (found.scheme, found.sector_size) == ("gpt", 4096)
    assert [(each.start_sector, each.offset_bytes) for each in found.partitions] == [(512, 2 * MIB)]


def test_a_damaged_primary_gpt_is_replaced_by_the_backup_and_said(tmp_path):
    path = blank(tmp_path / "disk", 64 * MIB)
    sfdisk(path, SCRIPTS["gpt"])
    sound = our_view(path)
    write_at(path, 512 + 40, b"\xff" * 8)
    with OpenImage(path) as image:
        assert any("backup is used" in warning for warning in describe(image).warnings)
    assert our_view(path) == sound


def test_a_gpt_whose_first_megabyte_is_gone_is_found_by_its_backup(tmp_path):
    path = blank(tmp_path / "disk", 64 * MIB)
    sfdisk(path, SCRIPTS["gpt"])
    sound = our_view(path)
    write_at(path, 512, bytes(MIB // 2))
    assert our_view(path) == sound


def test_file_systems_in_partitions_are_what_blkid_says(tmp_path):
    path = blank(tmp_path / "disk", 160 * MIB)
    sizes = {"ext4": 16, "vfat": 40, "swap": 8, "exfat": 16, "ntfs": 16}
    makers = {
        "ext4": ["mkfs.ext4", "-q", "-L", "rootdisk"],
        "vfat": ["mkfs.vfat", "-F", "32", "-n", "FATLABEL"],
        "swap": ["mkswap", "-q", "-L", "swapped"],
        "exfat": ["mkfs.exfat", "-L", "exlabel"],
        "ntfs": ["mkntfs", "-q", "-F", "-L", "Windows"],
    }
    sfdisk(path, "label: gpt\n" + "".join(f"size={size}MiB\n" for size in sizes.values()))
    with OpenImage(path) as image:
        places = {each.index: each.offset_bytes for each in describe(image).partitions}
    for index, (kind, size) in enumerate(sizes.items(), 1):
        part = blank(tmp_path / kind, size * MIB)
        tool(*makers[kind], part)
        write_at(path, places[index], part.read_bytes())
    with OpenImage(path) as image:
        found = describe(image).partitions
    for each, kind in zip(found, sizes, strict=True):
        said = blkid(path, each.offset_bytes)
        ours = {"TYPE": each.filesystem, "LABEL": each.label, "UUID": each.uuid}
        assert ours == {key: said[key] for key in ours}, kind
        assert each.filesystem == kind


def test_an_image_without_a_table_is_one_volume_with_number_0(tmp_path):
    path = blank(tmp_path / "disk", 8 * MIB)
    tool("mkfs.vfat", "-n", "FLOPPY", path)
    with OpenImage(path) as image:
        found = describe(image)
    assert found.scheme == "none"
    assert [(each.index, each.offset_bytes, each.label) for each in found.partitions] == [(0, 0, "FLOPPY")]


def test_an_mbr_that_counts_in_4096_bytes_is_told_by_where_file_systems_begin(tmp_path):
    path = blank(tmp_path / "disk", 64 * MIB)
    sfdisk(path, "label: dos\nstart=2048, size=8192, type=83\n")
    part = blank(tmp_path / "part", 16 * MIB)
    tool("mkfs.ext4", "-q", part)
    write_at(path, 2048 * 4096, part.read_bytes())
    with OpenImage(path) as image:
        found = describe(image)
    assert found.sector_size == 4096
    assert (found.partitions[0].offset_bytes, found.partitions[0].filesystem) == (2048 * 4096, "ext4")
    assert "4096" in found.warnings[0]


def test_holes_and_size_of_the_raw_disk_are_those_of_the_file(tmp_path):
    path = blank(tmp_path / "disk", 64 * MIB)
    write_at(path, 32 * MIB, b"x" * 4096)
    with OpenImage(path) as image:
        source = image.disk.source
        assert list(source.data_ranges(0, source.size_bytes)) == [(32 * MIB, 4096)]
        assert source.read_at(32 * MIB - 1, 3) == b"\0xx"
        assert source.size_bytes == os.path.getsize(path)


def test_a_table_of_thousands_is_shown_whole(tmp_path):
    """As many as a GPT may have here; each is bytes, and few of them a file system."""
    path = blank(tmp_path / "disk", 64 * MIB)
    sfdisk(path, "label: gpt\ntable-length: 4096\ngrain: 512\n" + "size=1\n" * 4095 + "size=16384\n")
    start = sfdisk_json(path)["partitions"][-1]["start"]
    part = blank(tmp_path / "part", 8 * MIB)
    tool("mkfs.ext4", "-q", part)
    copy_in(part, path, start * 512)
    with OpenImage(path) as opened:
        tree = ImageTree(opened)
        names = [entry.name for entry in tree.list(tree.root_inode)]
        raw = [b"p%d.img" % number for number in range(1, 4096)]
        assert names == [b"disk.img", *raw, b"p4096", b"p4096.img"]
        assert tree.lookup(tree.lookup(tree.root_inode, b"p4096"), b"lost+found") is not None
