"""Volume groups made by LVM2's tools: the reader finds the volumes, and the bytes, that those tools name."""

from __future__ import annotations

import random
import struct

import pytest

from images.lvm import making
from images.xfs.making import make
from images.xfs.sources import FileSource
from support.machine import needs_root
from twinfs.errors import ImageError
from twinfs.images.lvm import label, logical_volumes
from twinfs.images.xfs import open_file_system

pytestmark = needs_root


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """Three physical volumes, one without metadata; the files, and what lvs printed."""
    base = tmp_path_factory.mktemp("lvm")
    with making.disks(base, 3) as made:
        first, second, third = made.devices
        made.lvm("pvcreate", "-ff", "-y", first, second)
        made.lvm("pvcreate", "-ff", "-y", "--metadatacopies", "0", third)
        made.lvm("vgcreate", "--physicalextentsize", "128k", "group-1", *made.devices)
        made.create("-l", "5", "-n", "linear", "group-1", first)
        made.create("-l", "6", "-i", "2", "-I", "64k", "-n", "striped", "group-1", first, second)
        made.create("-l", "3", "-n", "between", "group-1", first)
        made.lvm("lvextend", "-l", "+4", "group-1/linear", first)
        made.create("-l", "100", "-n", "long", "group-1")
        made.create("-l", "4", "-n", "with-dash_and.dot+plus", "group-1", second)
        segments = made.segments()
        path_of = {device: base / f"pv{number}" for number, device in enumerate(made.devices)}
        start = made.first_extent_bytes()
    return base, path_of, start, segments


@pytest.fixture
def sources(group):
    opened = [FileSource(group[0] / f"pv{number}") for number in range(3)]
    yield opened
    for source in opened:
        source.close()


def names(group):
    return sorted({segment["lv_name"] for segment in group[3]})


def test_every_volume_has_the_bytes_that_lvs_names(group, sources):
    _, path_of, start, segments = group
    found = {volume.name: volume for volume in logical_volumes(sources[0], sources[1:])}
    assert sorted(found) == names(group) and len(found) == 5
    for name, volume in found.items():
        own = [segment for segment in segments if segment["lv_name"] == name]
        expected = making.contents(path_of, start, own)
        assert volume.problem is None
        assert (volume.group, volume.uuid) == ("group-1", own[0]["lv_uuid"].replace("-", ""))
        assert volume.source.size_bytes == len(expected) == int(own[0]["lv_size"])
        assert volume.source.read_at(0, 1 << 30) == expected
        chance = random.Random(name)
        for _ in range(50):
            offset, length = chance.randrange(len(expected)), chance.randrange(100_000)
            assert volume.source.read_at(offset, length) == expected[offset : offset + length]
        assert volume.source.read_at(len(expected), 10) == b""
        assert next(volume.source.data_ranges(5, len(expected)))[0] == 5
        assert sum(length for _, length in volume.source.data_ranges(0, 1 << 40)) == len(expected)


@pytest.mark.parametrize("number", [1, 2])
def test_any_of_the_disks_may_come_first(group, sources, number):
    others = [source for source in sources if source is not sources[number]]
    assert sorted(volume.name for volume in logical_volumes(sources[number], others)) == names(group)


def test_volumes_with_parts_on_disks_that_are_not_here_are_listed_and_refused(group, sources):
    found = {volume.name: volume for volume in logical_volumes(sources[0])}
    assert sorted(found) == names(group)
    assert [name for name in found if found[name].problem is None] == ["linear", "between"]
    assert "physical volumes that are not in this image: pv1" in found["striped"].problem
    assert found["striped"].source.size_bytes == 6 * 128 << 10
    with pytest.raises(ImageError, match="lvm: volume group-1/striped: parts of it are on"):
        found["striped"].source.read_at(0, 512)


def test_a_disk_without_metadata_alone_says_so(sources):
    with pytest.raises(ImageError, match="has no metadata: another disk"):
        logical_volumes(sources[2])


@pytest.fixture
def disk(tmp_path):
    with making.disks(tmp_path, 1, 32 << 20) as made:
        made.lvm("pvcreate", "-ff", "-y", "--metadatasize", "64k", "--dataalignment", "64k", *made.devices)
        yield made


def volumes_of(directory):
    with FileSource(directory / "pv0") as source:
        return logical_volumes(source)


def test_a_disk_in_no_group_has_no_volumes(disk, tmp_path):
    assert volumes_of(tmp_path) == []


def test_a_group_without_volumes_has_none(disk, tmp_path):
    disk.lvm("vgcreate", "group", *disk.devices)
    assert volumes_of(tmp_path) == []


def test_metadata_that_has_gone_around_its_area_is_read(disk, tmp_path):
    disk.lvm("vgcreate", "--physicalextentsize", "64k", "group", *disk.devices)
    disk.create("-L", "64k", "-n", "kept", "group")
    with FileSource(tmp_path / "pv0") as source:
        start, length = label.read(source).areas[0]
    wrapped = False
    for number in range(2000):
        disk.create("-L", "64k", "-n", f"volume-{number}", "group")
        raw = (tmp_path / "pv0").read_bytes()[start : start + 512]
        offset, size = struct.unpack_from("<QQ", raw, 40)
        wrapped = offset + size > length
        if wrapped:
            break
    assert wrapped, (number, length)
    assert len(volumes_of(tmp_path)) == number + 2


def test_kinds_of_volumes_that_are_not_read_are_listed_and_refused(disk, tmp_path):
    disk.lvm("vgcreate", "--physicalextentsize", "64k", "group", *disk.devices)
    disk.create("-L", "1m", "-n", "plain", "group")
    disk.create("--type", "zero", "-L", "1m", "-n", "zero", "group")
    found = {volume.name: volume.problem for volume in volumes_of(tmp_path)}
    assert found == {
        "plain": None,
        "zero": "it has segments of type zero; only linear and striped ones are read",
    }


def test_a_file_system_on_a_volume_is_read(disk, tmp_path):
    disk.lvm("vgcreate", "--physicalextentsize", "64k", "group", *disk.devices)
    disk.create("-L", "1m", "-n", "before", "group")
    disk.create("-L", "24m", "-n", "xfs", "group")
    [first] = [text for text in disk.segments() if text["lv_name"] == "xfs"]
    start = int(first["seg_pe_ranges"].split(":")[1].split("-")[0]) * 65536 + disk.first_extent_bytes()
    (tmp_path / "list").write_text(f"/\n0 0\nd--755 0 0\nfile ---644 0 0 {__file__}\n$\n")
    image = make(tmp_path / "image", ("-p", str(tmp_path / "list")), size_bytes=24 << 20)
    with open(tmp_path / "pv0", "r+b") as target:
        target.seek(start)
        target.write(image.read_bytes())
    with FileSource(tmp_path / "pv0") as source:
        [volume] = [volume for volume in logical_volumes(source) if volume.name == "xfs"]
        files = open_file_system(volume.source)
        inode = files.lookup(files.root_inode, b"file")
        with open(__file__, "rb") as file:
            assert files.read(inode, 0, 1 << 20) == file.read()
