"""Whether the latest changes are still in the log: a warning, and the state before them is read."""

from __future__ import annotations

import os
import shutil

import pytest

from images.xfs.making import field, make, mounted
from images.xfs.sources import ChangedSource, FileSource, recorded
from support.machine import needs_root, run, tool
from twinfs.images.xfs import open_file_system

pytestmark = needs_root
SMALL = 64 << 20
SECTOR = 512


@pytest.fixture
def image(tmp_path):
    return make(tmp_path / "image", size_bytes=SMALL)


def warnings_of(image):
    with FileSource(image) as source:
        return open_file_system(source).warnings


def test_a_fresh_file_system_is_clean(image):
    assert warnings_of(image) == ()


def test_one_that_was_never_unmounted_says_so_until_its_log_is_replayed(image):
    with mounted(image) as root:
        (root / "first").write_text("on disk")
    with mounted(image) as root:
        (root / "second").write_text("in the log")
        run(tool("xfs_io", "xfsprogs"), "-x", "-c", "shutdown -f", root)
    [warning] = warnings_of(image)
    assert "not unmounted cleanly" in warning
    with FileSource(image) as source:
        files = open_file_system(source)
        assert files.read(files.lookup(files.root_inode, b"first"), 0, 100) == b"on disk"
    with mounted(image) as root:
        assert (root / "second").exists()
    assert warnings_of(image) == ()


def test_a_copy_of_a_mounted_one_says_so(image):
    with mounted(image) as root:
        (root / "file").write_text("x")
        with open(root / "file", "rb") as file:
            os.fsync(file.fileno())
        shutil.copyfile(image, image.with_suffix(".copy"))
    assert len(warnings_of(image.with_suffix(".copy"))) == 1
    assert warnings_of(image) == ()


def test_a_log_that_went_around_is_understood(image):
    """The head is then somewhere in the middle, between the new round's sectors and the old one's."""
    with mounted(image) as root:
        for number in range(1000):
            file = os.open(root / str(number), os.O_CREAT | os.O_WRONLY)
            os.setxattr(file, "user.large", os.urandom(3000))
            os.fsync(file)
            os.close(file)
    start, length = log_of(image)
    with open(image, "rb") as file:
        file.seek(start + length - SECTOR)
        assert any(file.read(SECTOR)[:4]), "the log's end was never written: too few changes"
    assert warnings_of(image) == ()


def log_of(image):
    """Where the log is, and how long, in bytes."""
    words = run(
        tool("xfs_db", "xfsprogs"), "-r", "-c", f"convert fsblock {field(image, 'logstart')} daddr", image
    )
    start = int(words.stdout.split("(")[1].rstrip(")\n")) * SECTOR
    return start, int(field(image, "logblocks")) * int(field(image, "blocksize"))


@pytest.fixture
def source(image):
    with FileSource(image) as file:
        open_file_system(file)
        yield recorded(file)


def test_an_unreadable_log_is_a_warning_only(image, source):
    start, _ = log_of(image)
    source.size_bytes = start
    said = " ".join(open_file_system(source).warnings)
    assert "cut off" in said
    assert "the log cannot be read" in said


@pytest.mark.parametrize("at", [0, 4, 40, SECTOR + 9])
def test_a_damaged_unmount_record_is_not_taken_for_one(image, source: ChangedSource, at):
    start, _ = log_of(image)
    source.changes[start + at] = b"\x55"
    assert any("not unmounted cleanly" in text for text in open_file_system(source).warnings)


def test_an_external_log_cannot_be_judged(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(bytes(16 << 20))
    image = make(tmp_path / "image", ("-l", f"logdev={log},size=8m"), size_bytes=SMALL)
    [warning] = warnings_of(image)
    assert "log is on another device" in warning
