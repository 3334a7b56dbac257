"""What is refused before anything is written, with reason and way out; loop devices play the disks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.failing_disk import Plan, sectors
from support.machine import needs_root, run, tool
from tools.capture.conftest import capture_disk, noise, refusal
from twinfs.images.rescue_map import parse

MIB = 1 << 20


@pytest.fixture
def attach(workspace: Path) -> Iterator[Callable[..., Path]]:
    """Loop devices over files; detached in the end."""
    attached: list[str] = []

    def make(file: Path, *options: str) -> Path:
        device = run(tool("losetup", "mount"), "--find", "--show", *options, file).stdout.strip()
        attached.append(device)
        return Path(device)

    yield make
    for device in attached:
        run("losetup", "-d", device, check=False)


@pytest.fixture
def partitioned(workspace: Path, attach: Callable[..., Path]) -> tuple[Path, Path, Path]:
    """A disk of 64 MiB and its two partitions, as partx tells the kernel: not every one reads tables."""
    file = workspace / "disk"
    with open(file, "wb") as disk:
        disk.truncate(64 * MIB)
    device = attach(file, "--partscan")
    for number, start, length in ((1, 2048, 4096), (2, 8192, 65536)):
        run(tool("addpart", "util-linux"), device, str(number), str(start), str(length))
    return device, Path(f"{device}p1"), Path(f"{device}p2")


@pytest.fixture
def mounted(attach: Callable[..., Path]) -> Iterator[Callable[[Path, Path], Path]]:
    """Make an ext4 on a device and mount it; unmounted before the device is detached."""
    points: list[Path] = []

    def make(device: Path, mountpoint: Path) -> Path:
        mountpoint.mkdir()
        run(tool("mkfs.ext4", "e2fsprogs"), "-q", device)
        run("mount", device, mountpoint)
        points.append(mountpoint)
        return mountpoint

    yield make
    for point in points:
        run("umount", point)


@pytest.fixture
def source(workspace: Path) -> Path:
    path = workspace / "source"
    path.write_bytes(noise(4 * MIB))
    return path


def test_an_image_that_exists_is_not_overwritten(workspace, source):
    (workspace / "out.img").write_text("precious")
    said = refusal(source, workspace / "out.img")
    assert "exists already" in said
    assert "--resume" in said
    assert "--force" in said
    assert (workspace / "out.img").read_text() == "precious"
    assert not (workspace / "out.img.map").exists()
    assert capture_disk(source, workspace / "out.img", "--force").code == 0
    assert (workspace / "out.img").read_bytes() == source.read_bytes()


def test_an_image_without_its_map_is_not_gone_on_with(workspace, source):
    (workspace / "out.img").write_text("precious")
    assert "what of it is good is not known" in refusal(source, workspace / "out.img", "--resume")
    assert (workspace / "out.img").read_text() == "precious"


def test_a_map_without_its_image_is_neither_used_nor_overwritten(workspace, source):
    capture_disk(source, workspace / "out.img")
    (workspace / "out.img").unlink()
    before = (workspace / "out.img.map").read_text()
    assert "bring the image back" in refusal(source, workspace / "out.img", "--resume")
    assert "but not its image" in refusal(source, workspace / "out.img")
    assert (workspace / "out.img.map").read_text() == before


def test_a_map_of_another_disk_is_refused(workspace, source):
    capture_disk(source, workspace / "out.img")
    (workspace / "other").write_bytes(noise(3 * MIB))
    said = refusal(workspace / "other", workspace / "out.img", "--resume")
    assert "another disk" in said
    assert (workspace / "out.img").read_bytes() == source.read_bytes()


def test_an_image_that_is_shorter_or_longer_than_the_map_says_is_refused(workspace, source):
    capture_disk(source, workspace / "out.img")
    os.truncate(workspace / "out.img", MIB)
    assert "do not belong together" in refusal(source, workspace / "out.img", "--resume")
    os.truncate(workspace / "out.img", 5 * MIB)
    assert "it is not its image" in refusal(source, workspace / "out.img", "--resume")
    assert (workspace / "out.img").stat().st_size == 5 * MIB


def test_what_is_no_map_is_refused_and_kept(workspace, source):
    (workspace / "out.img.map").write_text("my shopping list\n")
    found = capture_disk(source, workspace / "out.img", "--resume")
    assert found.code == 1
    assert "line 1" in found.errors
    assert (workspace / "out.img.map").read_text() == "my shopping list\n"


@pytest.mark.parametrize("link", ["same path", "hard link", "symbolic link"])
def test_the_source_is_never_written_whatever_is_said(workspace, source, link):
    dest = workspace / "dest"
    match link:
        case "same path":
            dest = source
        case "hard link":
            os.link(source, dest)
        case _:
            dest.symlink_to(source)
    for option in ("--force", "--resume"):
        said = refusal(source, dest, option)
        assert "would overwrite what it reads" in said
    assert source.read_bytes() == noise(4 * MIB)


@pytest.mark.parametrize(
    ("dest", "words"),
    [
        (".", "is a directory"),
        ("no/such/out.img", "there is no directory"),
        ("pipe", "neither a file nor a disk"),
    ],
)
def test_what_cannot_be_an_image_is_said(workspace, source, dest, words):
    os.mkfifo(workspace / "pipe")
    assert words in refusal(source, workspace / dest)


@pytest.mark.parametrize(
    ("name", "words"),
    [("missing", "No such file"), (".", "neither a block device"), ("pipe", "neither a block")],
)
def test_what_cannot_be_a_source_is_said(workspace, name, words):
    os.mkfifo(workspace / "pipe")
    assert words in refusal(workspace / name, workspace / "out.img")
    assert os.listdir(workspace) == ["pipe"]


@needs_root
def test_a_device_is_written_only_when_forced(workspace, source, attach):
    target = workspace / "target"
    target.write_bytes(b"x" * (5 * MIB))
    device = attach(target)
    assert "say with --map" in refusal(source, device, "--force")
    said = refusal(source, device, "--map", workspace / "map")
    assert f"{device} is a device" in said
    assert "--force" in said
    assert target.read_bytes() == b"x" * (5 * MIB)
    assert capture_disk(source, device, "--map", workspace / "map", "--force").code == 0
    assert device.read_bytes()[: 4 * MIB] == source.read_bytes()


@needs_root
def test_a_device_too_small_is_refused(workspace, source, attach):
    (workspace / "target").write_bytes(bytes(MIB))
    device = attach(workspace / "target")
    assert "does not fit" in refusal(source, device, "--map", workspace / "map", "--force")


@needs_root
def test_bad_areas_are_zeros_on_a_device_that_held_other_things(failing, workspace, attach):
    disk = failing(noise(MIB), Plan(sectors(5, 6)))
    (workspace / "target").write_bytes(b"x" * MIB)
    device = attach(workspace / "target")
    assert capture_disk(disk.path, device, "--map", workspace / "map", "--force").code == 1
    assert device.read_bytes() == disk.expected()


@needs_root
def test_a_loop_device_and_its_file_are_one_thing(workspace, source, attach):
    device = attach(source)
    assert "would overwrite what it reads" in refusal(device, source, "--force")
    said = refusal(source, device, "--force", "--map", workspace / "map")
    assert "would overwrite what it reads" in said


@needs_root
def test_a_partition_and_its_disk_are_one_thing(workspace, partitioned):
    device, first, second = partitioned
    options = ("--map", workspace / "map", "--force")
    assert "would overwrite what it reads" in refusal(first, device, *options)
    assert "would overwrite what it reads" in refusal(device, second, *options)
    # Another partition of the same disk is dangerous, not impossible.
    assert "on the disk that is read" not in refusal(first, second, *options[:2])
    assert capture_disk(first, second, *options).code == 0


@needs_root
def test_an_image_on_the_disk_that_is_read_is_refused_unless_forced(workspace, partitioned, mounted):
    device, first, second = partitioned
    image = mounted(second, workspace / "mnt") / "out.img"
    said = refusal(first, image)
    assert f"on the disk that is read (/dev/{device.name})" in said
    assert "--force" in said
    assert os.listdir(workspace / "mnt") == ["lost+found"]
    assert capture_disk(first, image, "--force").code == 0


@needs_root
@pytest.mark.parametrize("whole_disk", [False, True])
def test_a_mounted_source_is_refused_unless_it_may_be_live(workspace, partitioned, mounted, whole_disk):
    device, first, _ = partitioned
    mountpoint = mounted(first, workspace / "mnt with space")
    source = device if whole_disk else first
    said = refusal(source, workspace / "out.img")
    assert f"{first} is mounted at {mountpoint}" in said
    assert "--live" in said
    # The file behind the device is the same disk.
    assert f"{first} is mounted at {mountpoint}" in refusal(workspace / "disk", workspace / "out.img")
    assert capture_disk(source, workspace / "out.img", "--live").code == 0


@needs_root
def test_a_device_is_read_past_the_page_cache_sector_by_sector(workspace, source, attach):
    """O_DIRECT wants aligned memory, offsets and lengths; an odd number of sectors shows that they are."""
    os.truncate(source, 3 * MIB + 512 * 3)
    device = attach(source)
    found = capture_disk(device, workspace / "out.img", "--hash", "sha256", "--verify")
    assert (found.code, found.summary["is_equal"]) == (0, True)
    assert (workspace / "out.img").read_bytes() == source.read_bytes()
    assert parse((workspace / "out.img.map").read_text()).is_finished(0, 3 * MIB + 1536)


@needs_root
def test_a_disk_with_large_sectors_is_read_in_those(workspace, source, attach):
    device = attach(source, "--sector-size", "4096")
    assert capture_disk(device, workspace / "out.img").code == 0
    assert (workspace / "out.img").read_bytes() == source.read_bytes()
    said = refusal(device, workspace / "other.img", "--sector-size", "512")
    assert "at least 4096" in said


@needs_root
def test_a_device_that_is_pulled_out_ends_it(workspace, source, attach):
    """The loop device shrinks to nothing beneath the map of a former capture."""
    device = attach(source)
    capture_disk(device, workspace / "out.img")
    run("losetup", "-d", device)
    found = capture_disk(device, workspace / "out.img", "--resume")
    assert found.code in (1, 2)
    assert "Traceback" not in found.errors
    assert (workspace / "out.img").read_bytes() == source.read_bytes()
