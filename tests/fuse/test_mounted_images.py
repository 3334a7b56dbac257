"""Images mounted as directories, used by real programs."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from support.compare import Keeps, assert_same
from support.images import MIB, blank, copy_in, sfdisk, tool, write_at
from support.machine import NOBODY_UID, is_mounted, needs_root, run
from support.mounted_image import make_fat, readers_of
from support.odd_tree import SECOND, Wants, build, manifest
from support.volume import as_user_prefix, twinfs_command

pytestmark = needs_root  # for owners and nodes in the images

TIMES = (1_600_000_000 * SECOND, -86_400 * SECOND, 2_000_000_000 * SECOND)
# Without the file of 5 GiB: a reader of the mount is shown its holes as zeros, every one of them.
WANTS = Wants(entries=2000, times=TIMES, long_xattr_bytes=500, has_large_sparse=False)


@pytest.fixture(scope="module")
def tree(module_workspace: Path) -> Path:
    build(module_workspace / "tree", WANTS)
    return module_workspace / "tree"


@pytest.fixture(scope="module")
def disk(module_workspace: Path, tree: Path) -> Path:
    """ext4 with the odd tree in partition 1, FAT with a few files in partition 2, garbage in 3."""
    path = blank(module_workspace / "disk.img", 200 * MIB)
    sfdisk(path, "label: gpt\nstart=2048, size=128MiB\nsize=32MiB\nsize=8MiB\n")
    part = blank(module_workspace / "part", 128 * MIB)
    tool("mkfs.ext4", "-q", "-F", "-d", tree, part)
    copy_in(part, path, 2048 * 512)
    fat = make_fat(module_workspace / "fat", b"first")
    copy_in(fat, path, 2048 * 512 + 128 * MIB)
    write_at(path, 2048 * 512 + 160 * MIB, os.urandom(MIB))
    return path


def test_a_mounted_image_shows_all_that_was_put_in(mount, disk, tree):
    mnt = mount(disk).path
    keeps = Keeps(times_ns=SECOND)
    found = manifest(mnt / "p1")
    assert_same(found, manifest(tree), keeps, extra=(b"lost+found",))


def test_the_top_holds_partitions_and_their_bytes(mount, disk):
    mnt = mount(disk).path
    assert sorted(os.listdir(mnt)) == ["disk.img", "p1", "p1.img", "p2", "p2.img", "p3.img"]
    assert (mnt / "p2" / "file.txt").read_bytes() == b"first"
    run("cmp", mnt / "disk.img", disk)
    assert os.stat(mnt / "p3.img").st_size == 8 * MIB
    assert "LABEL" not in tool("blkid", "--probe", "--output", "export", mnt / "p1.img")


def test_programs_read_it_like_any_directory(mount, disk, tree, workspace):
    mnt = mount(disk).path
    run("tar", "-C", mnt / "p1", "-cf", workspace / "out.tar", "dir", "names", "deep", "many")
    run("tar", "-C", tree, "-df", workspace / "out.tar", "dir", "names", "deep")
    assert len(run("find", mnt / "p1" / "many", "-type", "f").stdout.splitlines()) == WANTS.entries
    run("diff", "-r", "--no-dereference", tree / "names", mnt / "p1" / "names")


def test_nothing_can_be_written(mount, disk):
    mnt = mount(disk).path
    for attempt in (
        lambda: (mnt / "new").write_bytes(b""),
        lambda: (mnt / "p1" / "small").write_bytes(b""),
        lambda: os.unlink(mnt / "p1" / "small"),
        lambda: os.mkdir(mnt / "p1" / "new"),
        lambda: os.chmod(mnt / "p1" / "small", 0o777),
    ):
        with pytest.raises(OSError) as refused:
            attempt()
        assert refused.value.errno == errno.EROFS


def test_device_nodes_are_shown_and_without_effect(mount, disk):
    mnt = mount(disk).path
    status = os.stat(mnt / "p1" / "char")
    assert stat.S_ISCHR(status.st_mode)
    assert status.st_rdev == os.makedev(5, 1)
    with pytest.raises(PermissionError):
        os.open(mnt / "p1" / "char", os.O_RDONLY)
    options = next(line for line in Path("/proc/mounts").read_text().splitlines() if f" {mnt} " in line)
    assert {"ro", "nosuid", "nodev"} <= set(options.split()[3].split(","))


def test_readers_at_once_get_each_their_own_bytes(mount, disk, tree):
    mnt = mount(disk).path
    expected = (tree / "large").read_bytes()
    names = [f"entry number {number:05d}.txt" for number in range(400)]
    wrong: list[str] = []

    def read_large() -> None:
        if (mnt / "p1" / "large").read_bytes() != expected:
            wrong.append("large")

    def read_many() -> None:
        for name in names:
            if (mnt / "p1" / "many" / name).read_bytes() != b"%d" % int(name[13:18]):
                wrong.append(name)

    threads = [threading.Thread(target=work) for work in (read_large, read_many) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("program", ["umount", "fusermount3 -u", "twinfs umount"])
def test_it_ends_by(mount, disk, program):
    mnt = mount(disk).path
    (mnt / "p1" / "small").read_bytes()
    words = [*twinfs_command(), "umount"] if program.startswith("twinfs") else program.split()
    run(*words, mnt)
    assert not is_mounted(mnt)
    deadline = time.monotonic() + 10
    while readers_of(disk):
        assert time.monotonic() < deadline, "the reader outlives the mount"
        time.sleep(0.05)


def test_an_ordinary_user_mounts_and_reads_all_of_it(mount, disk, workspace):
    os.chmod("/dev/fuse", 0o666)
    for place in (workspace, disk.parent):
        os.chmod(place, 0o777)
    mountpoint = workspace / "mnt"
    mountpoint.mkdir()
    os.chown(mountpoint, NOBODY_UID, NOBODY_UID)
    prefix = as_user_prefix(NOBODY_UID)
    mounted = mount(disk, prefix=prefix)
    # Nobody but root may read these, in the image; it is the user's own image.
    listed = run(*prefix, "ls", "-n", mounted.path / "p1").stdout
    assert re.search(r" 1000 +2000 ", listed)
    assert run(*prefix, "cat", mounted.path / "p1" / "small").stdout == "small content\n"
    with pytest.raises(PermissionError):
        os.listdir(mounted.path)  # for that user alone, not even for root
    run(*prefix, "fusermount3", "-u", mounted.path)


def test_several_images_at_once(mount, disk, workspace):
    fat = make_fat(workspace / "fat", b"second")
    first, second = mount(disk, "one").path, mount(fat, "two").path
    assert (first / "p2" / "file.txt").read_bytes() == b"first"
    assert (second / "p0" / "file.txt").read_bytes() == b"second"


def test_an_image_in_a_mounted_image_can_be_mounted(mount, workspace):
    inner = make_fat(workspace / "inner", b"deep inside")
    holder = workspace / "holder"
    holder.mkdir()
    inner.rename(holder / "inner.img")
    outer = blank(workspace / "outer", 64 * MIB)
    tool("mkfs.ext4", "-q", "-d", holder, outer)
    one = mount(outer, "one").path
    two = mount(one / "p0" / "inner.img", "two").path
    assert (two / "p0" / "file.txt").read_bytes() == b"deep inside"


def test_what_is_no_image_is_still_its_bytes(mount, workspace):
    path = workspace / "noise"
    path.write_bytes(os.urandom(MIB))
    mnt = mount(path).path
    assert os.listdir(mnt) == ["disk.img"]
    assert (mnt / "disk.img").read_bytes() == path.read_bytes()


def test_a_missing_image_or_mountpoint_is_said(workspace):
    for words in ([workspace / "absent", workspace], [__file__, workspace / "absent"]):
        done = subprocess.run(
            [*twinfs_command(), "image", "mount", *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "absent" in done.stderr
