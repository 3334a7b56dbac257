"""Whether two directories are on one disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.disks import Disk
from support.machine import needs_root, run, tool
from twinfs.fsio.disks import _whole_disks, disks_of, what_is_shared


@contextmanager
def opened(*paths: str | Path) -> Iterator[list[int]]:
    fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in paths]
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def shared(*paths: str | Path) -> str:
    with opened(*paths) as fds:
        return what_is_shared(*fds)


def test_two_directories_of_one_file_system_share_it(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    assert shared(tmp_path, tmp_path / "below") == "one file system"


def test_memory_is_on_no_disk(tmp_path: Path) -> None:
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    assert shared(tmp_path, "/dev/shm") == ""
    with opened("/dev/shm") as [fd]:
        assert disks_of(fd) == set()


def test_partitions_and_mappings_lead_to_the_disks_beneath(tmp_path: Path) -> None:
    """A tree as the kernel's: two partitions of sda, an md device of one of them and of sdb."""
    for name in ("sda/sda1", "sda/sda2", "sdb", "md0/slaves", "dm-0/slaves"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("sda/sda1", "sda/sda2"):
        (tmp_path / name / "partition").write_text("1\n")
    (tmp_path / "md0/slaves/sda2").symlink_to("../../sda/sda2")
    (tmp_path / "md0/slaves/sdb").symlink_to("../../sdb")
    (tmp_path / "dm-0/slaves/md0").symlink_to("../../md0")
    assert _whole_disks(tmp_path / "sda/sda1") == {"sda"}
    assert _whole_disks(tmp_path / "dm-0") == {"sda", "sdb"}
    assert _whole_disks(tmp_path / "gone") == set()


@needs_root
def test_two_subvolumes_are_on_one_file_system_and_two_disks_are_two(tmp_path: Path) -> None:
    first, second = Disk(tmp_path / "first", "btrfs"), Disk(tmp_path / "second", "ext4")
    try:
        for disk in (first, second):
            disk.put_in()
        btrfs = tool("btrfs", "btrfs-progs")
        for folder in ("one", "two"):
            run(btrfs, "subvolume", "create", first.path / folder)
        assert (first.path / "one").stat().st_dev != (first.path / "two").stat().st_dev
        name = os.path.basename(first.device or "")
        assert shared(first.path / "one", first.path / "two") == f"one disk ({name})"
        assert shared(first.path, second.path) == ""
        with opened(first.path) as [fd]:
            assert disks_of(fd) == {name}
    finally:
        for disk in (first, second):
            disk.take_out()
