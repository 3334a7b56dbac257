"""What a mounted image shows when its reader died, hung, or found the image rewritten."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from pathlib import Path

import pytest

from images.luks.making import Maker
from support.images import MIB, blank, copy_in, sfdisk, tool
from support.machine import needs_root
from support.mounted_image import make_fat, readers_of
from support.volume import wait_until

pytestmark = needs_root  # for owners and nodes in the images


def test_a_reader_that_dies_is_replaced_and_what_was_open_is_stale(mount, workspace):
    disk = make_fat(workspace / "disk", b"first")
    mnt = mount(disk).path
    with open(mnt / "p0" / "file.txt", "rb") as before:
        assert before.read(2) == b"fi"
        [reader] = readers_of(disk)
        os.kill(reader, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while readers_of(disk) in ([], [reader]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.3)
        os.posix_fadvise(before.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with pytest.raises(OSError) as stale:
            os.pread(before.fileno(), 4, 0)
        assert stale.value.errno == errno.ESTALE
    assert (mnt / "p0" / "file.txt").read_bytes() == b"first"


def test_a_reader_that_hangs_is_replaced(mount, workspace):
    disk = make_fat(workspace / "disk", b"first")
    mnt = mount(disk).path
    [reader] = readers_of(disk)
    os.kill(reader, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(OSError) as failed:
        os.stat(mnt / "p0" / "file.txt")
    assert failed.value.errno == errno.EIO
    assert time.monotonic() - started < 12
    assert (mnt / "p0" / "file.txt").read_bytes() == b"first"


def test_an_image_that_is_rewritten_is_read_anew(mount, workspace):
    image = make_fat(workspace / "changing", b"old")
    mnt = mount(image).path
    assert (mnt / "p0" / "file.txt").read_bytes() == b"old"
    assert b"old" in (mnt / "disk.img").read_bytes()
    other = make_fat(workspace / "other", b"newer")
    with open(image, "r+b") as file:
        file.write(other.read_bytes())
    deadline = time.monotonic() + 10
    while True:
        try:
            if (mnt / "p0" / "file.txt").read_bytes() == b"newer":
                break
        except OSError as error:
            assert error.errno in (errno.ESTALE, errno.EIO)
        assert time.monotonic() < deadline, "still the old content"
        time.sleep(0.1)
    assert b"newer" in (mnt / "disk.img").read_bytes()


def test_a_listing_that_the_kernel_keeps_follows_a_rewritten_image(mount, workspace):
    image = make_fat(workspace / "changing", b"old")
    mnt = mount(image).path
    for _ in range(2):
        assert os.listdir(mnt) == ["disk.img", "p0"]
        assert os.listdir(mnt / "p0") == ["file.txt"]
    with open(image, "r+b") as file:
        file.write(disk_with_names(workspace, "one", "two").read_bytes())

    def is_followed() -> bool:
        try:
            return sorted(os.listdir(mnt)) == ["disk.img", "p1", "p1.img"] and "one" in os.listdir(mnt / "p1")
        except OSError as error:
            assert error.errno in (errno.ESTALE, errno.EIO, errno.ENOENT)
            return False

    wait_until(is_followed, 10, "still the old names")
    assert {"one", "two"} <= set(os.listdir(mnt / "p1"))


def disk_with_names(workspace: Path, *names: str) -> Path:
    """ext4 with these empty files, in the only partition of a disk."""
    (workspace / "named").mkdir()
    for name in names:
        (workspace / "named" / name).touch()
    part = blank(workspace / "named part", 16 * MIB)
    tool("mkfs.ext4", "-q", "-F", "-d", workspace / "named", part)
    path = blank(workspace / "named disk", 20 * MIB)
    sfdisk(path, "start=2048, size=16MiB, type=83\n")
    copy_in(part, path, 2048 * 512)
    return path


def test_a_directory_that_was_open_is_stale_when_its_reader_was_replaced(mount, workspace):
    """Another reader counts anew: the number would be that of another directory."""
    image = blank(workspace / "fat", 32 * MIB)
    tool("mkfs.vfat", "-F", "16", image)
    for name in ("first", "second"):
        (workspace / name).mkdir()
        for number in range(400):
            (workspace / name / f"{name} {number:03}").touch()
        tool("mcopy", "-s", "-i", image, workspace / name, "::")
    mnt = mount(image).path
    assert len(os.listdir(mnt / "p0" / "second")) == 400  # its number comes before the first's entries
    fd = os.open(mnt / "p0" / "first", os.O_RDONLY | os.O_DIRECTORY)
    try:
        [reader] = readers_of(image)
        os.kill(reader, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.stat(mnt / "p0" / "nothing")
        wait_until(lambda: readers_of(image) not in ([], [reader]), 10, "no other reader")
        with pytest.raises(OSError) as stale:
            os.listdir(fd)
        assert stale.value.errno == errno.ESTALE
    finally:
        os.close(fd)
    assert {name[:5] for name in os.listdir(mnt / "p0" / "first")} == {"first"}


def found_behind(mountpoint: Path) -> bytes | None:
    """None: what the kernel remembered was of the reader before, or that is not replaced yet."""
    try:
        return (mountpoint / "p0" / "file.txt").read_bytes()
    except OSError:
        return None


def test_an_encrypted_image_stays_open_when_its_reader_is_replaced(mount, workspace):
    secret = b"behind a passphrase" * 100_000
    plain = make_fat(workspace / "plain", secret)
    maker = Maker(workspace, plain)
    image = maker.version_2("encrypted")
    mounted = mount(image, words=("--passphrase-file", maker.passphrase_file))
    maker.passphrase_file.unlink()
    assert (mounted.path / "p0" / "file.txt").read_bytes() == secret
    (reader,) = readers_of(image)
    os.kill(reader, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while readers_of(image) in ([], [reader]) or found_behind(mounted.path) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert found_behind(mounted.path) == secret


def test_snapshots_are_not_taken_for_each_other_by_another_reader(mount, workspace):
    """They are numbered as they are looked into; the kernel keeps their bytes by number."""
    image, raw = workspace / "image.qcow2", blank(workspace / "raw", MIB)
    tool("qemu-img", "create", "-q", "-f", "qcow2", image, str(MIB))
    for name in ("a", "b"):
        raw.write_bytes(name.encode() * MIB)
        tool("qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", raw, image)
        tool("qemu-img", "snapshot", "-c", name, image)
    mnt = mount(image).path

    def contents(name: str) -> bytes:
        return (mnt / f"@{name}" / "disk.img").read_bytes()

    with (
        open(mnt / "@a" / "disk.img", "rb"),
        open(mnt / "@b" / "disk.img", "rb"),
    ):
        assert contents("a") == b"a" * MIB
        assert contents("b") == b"b" * MIB
        [reader] = readers_of(image)
        os.kill(reader, signal.SIGKILL)
        wait_until(lambda: readers_of(image) not in ([], [reader]), 10, "no other reader")
        time.sleep(0.5)
        assert contents("b") == b"b" * MIB
        assert contents("a") == b"a" * MIB
