"""Damaged metadata of LVM2: an ImageError or some of the volumes, soon. Never anything else."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from images.lvm import making
from images.xfs.sources import ChangedSource, FileSource
from support.machine import needs_root
from twinfs.errors import ImageError
from twinfs.images.lvm import label, logical_volumes

pytestmark = needs_root


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """The beginning of a physical volume of a group of two, with the place of its metadata's text."""
    base = tmp_path_factory.mktemp("lvm")
    with making.disks(base, 2) as made:
        made.lvm("pvcreate", "-ff", "-y", *made.devices)
        made.lvm("vgcreate", "--physicalextentsize", "128k", "group", *made.devices)
        made.create("-l", "5", "-n", "linear", "group", made.devices[0])
        made.create("-l", "6", "-i", "2", "-I", "16k", "-n", "striped", "group")
    with FileSource(base / "pv0") as source:
        start, _ = label.read(source).areas[0]
        offset, size = struct.unpack("<QQ", source.read_at(start + 40, 16))
        found = ChangedSource({(0, 2 << 20): source.read_at(0, 2 << 20)}, source.size_bytes)
    return found, start, start + offset, size


@pytest.fixture
def source(disk):
    yield disk[0]
    disk[0].changes = {}


def signed(source: ChangedSource, start: int, text: bytes) -> None:
    """Put a text in, with all its checksums made to fit."""
    header = bytearray(source.read_at(start, 512))
    header[40:64] = struct.pack("<QQII", 512, len(text), label.checksum_of(text), 0)
    header[:4] = struct.pack("<I", label.checksum_of(bytes(header[4:])))
    source.changes = {start: bytes(header), start + 512: text}


def use_all(source: ChangedSource) -> str:
    """What an ImageError said, or nothing."""
    try:
        volumes = logical_volumes(source)
    except ImageError as error:
        assert str(error).startswith("lvm: ")
        return str(error)
    for volume in volumes or ():
        assert 0 < volume.source.size_bytes < 1 << 63
        assert not {"/", "\0"} & set(volume.name)
        assert volume.name not in (".", "..")
        for offset in (0, volume.source.size_bytes // 2, volume.source.size_bytes - 100):
            try:
                assert len(volume.source.read_at(max(offset, 0), 5000)) <= 5000
            except ImageError as error:
                assert str(error).startswith("lvm: ")
    return ""


def test_the_undamaged_one_is_read(source, disk):
    assert use_all(source) == ""
    assert [volume.name for volume in logical_volumes(source)] == ["linear", "striped"]


def test_every_flipped_byte_of_label_header_and_text_is_noticed(source, disk):
    _, start, text_at, size = disk
    chance = random.Random(3)
    for at in (*range(512 + 32, 1024, 7), *range(start, start + 512, 9), *range(text_at, text_at + size, 97)):
        source.changes = {at: bytes([source.read_at(at, 1)[0] ^ chance.choice((1, 16, 255))])}
        assert "checksum" in use_all(source), at
        source.changes = {}


TEXTS = st.sampled_from(
    [b"{", b"}", b"[", b"]", b'"', b"=", b"0", b"-1", b"9" * 29, b"9" * 32, b"#", b",",
     b"1.5", b"../x", b"\0", b"\xff", b"pv9", b"a {" * 40, b"extent_count = 0\n", b"type = []\n",
     b'"striped"', b"\\"]
)  # fmt: skip


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_change_of_the_text_with_fitting_checksums_is_survived(source, disk, data):
    _, start, text_at, size = disk
    source.changes = {}
    text = source.read_at(text_at, size)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.sampled_from([0, 1, 1, 2, 10, 100]))
        text = text[:at] + data.draw(TEXTS | st.binary(max_size=3)) + text[at + cut :]
    signed(source, start, text)
    use_all(source)


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, 511), change=st.binary(min_size=1, max_size=8))
def test_any_change_of_label_or_header_with_a_fitting_checksum_is_survived(source, disk, at, change):
    start = disk[1]
    for place, covered in ((512, 20), (start, 4)):
        source.changes = {}
        block = bytearray(source.read_at(place, 512))
        block[at : at + len(change)] = change
        block = block[:512]
        checksum = struct.pack("<I", label.checksum_of(bytes(block[covered:])))
        block[covered - 4 : covered] = checksum
        source.changes = {place: bytes(block)}
        use_all(source)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b"extent_size = 256", b"extent_size = 0", "extent_size is 0"),
        (b"extent_count = 5", b"extent_count = 999999", "a stripe at 0 of pv0"),
        (b"start_extent = 0", b"start_extent = 1", "no segment holds its extent 0"),
        (b"segment_count = 1", b"segment_count = 2", "1 segments where it says 2"),
        (b'"pv1", 0', b'"pv7", 0', "a stripe at 0 of pv7"),
        (b"stripe_size = 32", b"stripe_size = 7", "stripes of 3584 bytes do not fit"),
        (b"linear {", b".. {", "a volume named '..'"),
        (b"group {", b"-g {", "'-g' '{' where a name|a volume named '-g'"),
        (b"pe_count", b"pe_cnt", "pe_count is None"),
        (b"seqno = ", b"seqno = -", "seqno is -"),
    ],
)
def test_texts_that_cannot_be_are_refused_with_the_reason(source, disk, old, new, says):
    _, start, text_at, size = disk
    text = source.read_at(text_at, size)
    assert old in text
    signed(source, start, text.replace(old, new))
    with pytest.raises(ImageError, match=says):
        logical_volumes(source)


def test_a_volume_that_lies_beyond_the_image_is_refused_when_read(source, disk):
    [volume] = [volume for volume in logical_volumes(source) if volume.name == "linear"]
    cut_off = ChangedSource({(0, 1 << 20): source.read_at(0, 1 << 20)}, (1 << 20) + 1000)
    [volume] = [volume for volume in logical_volumes(cut_off) if volume.name == "linear"]
    assert len(volume.source.read_at(0, 1000)) == 1000
    with pytest.raises(ImageError, match="its disk ends before"):
        volume.source.read_at(0, 1001)


def test_other_contents_are_no_physical_volume():
    for content in (b"", b"LABELONE", bytes(4096), random.Random(1).randbytes(9000)):
        assert logical_volumes(ChangedSource({(0, len(content)): content}, len(content))) is None
