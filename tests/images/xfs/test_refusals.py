"""What cannot be read says so, clearly, and what can be read beside it is."""

from __future__ import annotations

import struct

import pytest

from images.xfs import damage
from images.xfs.making import debugger, make
from images.xfs.sources import ChangedSource, FileSource
from twinfs.errors import ImageError
from twinfs.images.xfs import open_file_system


@pytest.fixture
def fresh(tmp_path):
    """A file system of version 5 with one file, as it is read; nothing is mounted."""
    (tmp_path / "content").write_bytes(b"content")
    (tmp_path / "list").write_text(f"/\n0 0\nd--755 0 0\nfile ---644 0 0 {tmp_path}/content\n$\n")
    image = make(tmp_path / "image", ("-p", str(tmp_path / "list")), size_bytes=damage.SIZE_BYTES)
    return damage.in_memory(image)


def opened_with(source: ChangedSource, at: int, change: bytes):
    """Opened with a field of the superblock changed, and its checksum with it."""
    damage.flip(source, next(part for part in source.metadata if part[0] == 0), at, change, sign=True)
    return open_file_system(source)


@pytest.mark.parametrize(
    ("at", "change", "says"),
    [
        (4, struct.pack(">I", 3000), "blocks of 3000 bytes"),
        (4, struct.pack(">I", 0), "blocks of 0 bytes"),
        (100, struct.pack(">H", 0xB4A3), "superblock of version 3"),
        (100, struct.pack(">H", 0x94A5), "directories of version 1"),
        (102, struct.pack(">H", 7), "sectors of 7 bytes"),
        (104, struct.pack(">H", 64), "inodes of 64 bytes"),
        (126, b"\1", "never finished"),
        (192, b"\7", "directory blocks of 2"),
        (216, struct.pack(">I", 1 << 20), "features newer than this reader"),
        (84, struct.pack(">I", 1), "groups of 1"),
        (88, struct.pack(">I", 0), "in 0 groups|0 groups"),
        (8, struct.pack(">Q", 1 << 60), "superblock is damaged"),
        (56, struct.pack(">Q", 1 << 50), "inode 1125899906842624 lies outside"),
        (56, struct.pack(">Q", 131), "inode 131 is no directory"),
    ],
)
def test_a_superblock_that_cannot_be_is_refused_with_the_reason(fresh, at, change, says):
    with pytest.raises(ImageError, match=says):
        opened_with(fresh, at, change)


def test_a_wrong_checksum_of_the_superblock_is_refused(fresh):
    fresh.changes = {40: b"\0"}
    with pytest.raises(ImageError, match="superblock at byte 0 has a wrong checksum"):
        open_file_system(fresh)


def test_one_that_needs_repair_is_read_with_a_warning(fresh):
    (incompatible,) = struct.unpack(">I", fresh.read_at(216, 4))
    files = opened_with(fresh, 216, struct.pack(">I", incompatible | 0x10))
    assert any("xfs_repair" in text for text in files.warnings)
    assert files.read(files.lookup(files.root_inode, b"file"), 0, 10) == b"content"


def test_asking_the_wrong_kind_of_inode_is_refused(fresh):
    files = open_file_system(fresh)
    file = files.lookup(files.root_inode, b"file")
    for call in (
        lambda: list(files.list(file)),
        lambda: files.lookup(file, b"x"),
        lambda: files.readlink(file),
    ):
        with pytest.raises(ImageError, match=f"inode {file} is no"):
            call()
    with pytest.raises(ImageError, match="is no regular file"):
        files.read(files.root_inode, 0, 1)
    with pytest.raises(ImageError, match="is no regular file"):
        files.data_ranges(files.root_inode)


@pytest.mark.parametrize("inode", [0, 1, 150, 2**31, 2**63, 2**70, -1])
def test_numbers_that_are_no_inodes_are_refused(fresh, inode):
    with pytest.raises(ImageError, match=f"inode {inode}"):
        open_file_system(fresh).stat(inode)


def test_files_on_a_realtime_device_are_refused_and_the_others_are_read(tmp_path):
    (tmp_path / "content").write_bytes(b"content" * 1000)
    (tmp_path / "rt").write_bytes(bytes(64 << 20))
    (tmp_path / "list").write_text(
        f"/\n0 0\nd--755 0 0\nfile ---644 0 0 {tmp_path}/content\nlink l--777 0 0 x\n$\n"
    )
    options = ("-r", f"rtdev={tmp_path}/rt", "-m", "reflink=0,rmapbt=0", "-p", str(tmp_path / "list"))
    image = make(tmp_path / "image", options, size_bytes=damage.SIZE_BYTES)
    debugger(image, "path /file", "write core.realtime 1", expert=True)
    with FileSource(image) as source:
        files = open_file_system(source)
        assert any("realtime device" in text for text in files.warnings)
        file = files.lookup(files.root_inode, b"file")
        assert files.stat(file).size_bytes == 7000
        assert files.readlink(files.lookup(files.root_inode, b"link")) == b"x"
        with pytest.raises(ImageError, match=f"inode {file}: its contents are on a realtime device"):
            files.read(file, 0, 10)
        with pytest.raises(ImageError, match="realtime device"):
            list(files.data_ranges(file))
