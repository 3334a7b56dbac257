"""The kernel's mount table, and taking mounts down."""

from __future__ import annotations

import os

import pytest

from support.machine import needs_root, run
from twinfs.daemon import mounts
from twinfs.errors import BusyError, MountError

MOUNTINFO = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/with\040space rw,nosuid shared:5 master:2 - fuse.twinfs /mnt/with\040space rw,user_id=0
31 30 0:41 /sub /mnt/with\040space rw - tmpfs tmpfs rw
"""


def test_mountinfo_is_read_with_its_escapes_and_optional_fields(tmp_path):
    file = tmp_path / "mountinfo"
    file.write_text(MOUNTINFO)
    root, ours, top = mounts.read(file)
    assert (root.mountpoint, root.filesystem_type, root.source) == ("/", "ext4", "/dev/sda1")
    assert (ours.mountpoint, ours.source, ours.device) == ("/mnt/with space", "/mnt/with space", "0:40")
    assert (top.mount_id, top.parent_id, top.filesystem_type) == (31, 30, "tmpfs")


def test_this_machines_mounts_can_be_read():
    found = mounts.at("/proc")
    assert found is not None
    device = os.stat("/proc").st_dev
    assert found.device == f"{os.major(device)}:{os.minor(device)}" or found.filesystem_type in (
        "btrfs",
        "overlay",
    )


def test_an_ordinary_directory_is_neither_mounted_nor_dead(tmp_path):
    assert mounts.at(str(tmp_path)) is None
    assert mounts.twinfs_at(str(tmp_path)) is None
    assert not mounts.is_dead(str(tmp_path))
    assert not mounts.is_dead(str(tmp_path / "missing"))
    assert not mounts.clear_dead(str(tmp_path))


@needs_root
def test_a_busy_mount_is_told_apart_from_one_that_is_none(workspace):
    run("mount", "-t", "tmpfs", "none", workspace)
    file = (workspace / "open").open("w")
    try:
        with pytest.raises(BusyError, match="is busy"):
            mounts.unmount(str(workspace))
    finally:
        file.close()
    mounts.unmount(str(workspace))
    with pytest.raises(MountError, match="cannot be unmounted: Invalid argument"):
        mounts.unmount(str(workspace))


@needs_root
def test_a_lazy_unmount_succeeds_while_busy(workspace):
    run("mount", "-t", "tmpfs", "none", workspace)
    with (workspace / "open").open("w"):
        mounts.unmount(str(workspace), lazy=True)
    assert mounts.at(str(workspace)) is None


@needs_root
def test_the_topmost_of_stacked_mounts_is_what_one_meets(workspace):
    for source in ("first", "second"):
        run("mount", "-t", "tmpfs", source, workspace)
    try:
        found = mounts.at(str(workspace))
        assert found is not None
        assert found.source == "second"
        assert mounts.twinfs_at(str(workspace)) is None
    finally:
        for _ in range(2):
            mounts.unmount(str(workspace))
