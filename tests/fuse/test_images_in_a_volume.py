"""`MOUNTPOINT/.twinfs/images/`: the disk images in a volume, walked into like directories."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.images import MIB, write_at
from support.machine import outcome, run
from support.mounted_image import readers_of
from support.volume import Volume, wait_until
from support.volume_images import START, inside, make_image, put

_CONTENT = os.urandom(3 * MIB)


@pytest.fixture(scope="module")
def disk(module_workspace: Path) -> Path:
    tree = module_workspace / "tree"
    (tree / "deep/er").mkdir(parents=True)
    (tree / "large").write_bytes(_CONTENT)
    (tree / "deep/er/letter.txt").write_text("dear")
    (tree / "deep/twin").hardlink_to(tree / "deep/er/letter.txt")
    (tree / "link").symlink_to("deep/er/letter.txt")
    os.setxattr(tree / "large", "user.colour", b"blue")
    for number in range(3000):
        (tree / f"deep/{number}").touch()
    os.utime(tree / "large", ns=(1_600_000_000_123_456_789, -86_400_000_000_005))
    return make_image(module_workspace / "disk.img", tree)


def test_walking_into_an_image(volume: Volume, disk: Path, module_workspace: Path) -> None:
    top = put(volume, disk, "old/usb key/disk.img")
    assert sorted(os.listdir(top)) == ["disk.img", "p1", "p1.img"]
    assert (top / "p1/deep/er/letter.txt").read_text() == "dear"
    assert (top / "p1/large").read_bytes() == _CONTENT
    assert (top / "p1.img").stat().st_size == 22 * MIB
    assert (top / "disk.img").read_bytes() == disk.read_bytes()
    # All that a program can see of it is as it was put in.
    found = run("rsync", "-aHAXnic", "--exclude=/lost+found", f"{top}/p1/", f"{module_workspace / 'tree'}/")
    # mkfs gives the top directory a time of its own.
    assert found.stdout.split() in ([], [".d..t......", "./"])
    assert (top / "p1/deep/twin").stat().st_nlink == 2
    assert (top / "p1/deep/twin").stat().st_ino == (top / "p1/deep/er/letter.txt").stat().st_ino
    assert os.getxattr(top / "p1/large", "user.colour") == b"blue"
    assert os.readlink(top / "p1/link") == "deep/er/letter.txt"
    assert len(os.listdir(top / "p1/deep")) == 3002
    # The volume itself knows nothing of it: no walk meets it, and the legs hold the image alone.
    assert run("find", volume.mount, "-name", "letter.txt").stdout == ""
    volume.sync()
    volume.assert_legs_in_sync()


def test_only_directories_and_images_are_listed_and_all_files_are_found(volume: Volume, disk: Path) -> None:
    put(volume, disk, "a/disk.img")
    shutil.copyfile(disk, volume.mount / "a/nameless")
    (volume.mount / "a/letter.txt").write_text("x")
    (volume.mount / "a/link.img").symlink_to("disk.img")
    (volume.mount / "b").mkdir()
    os.mkfifo(volume.mount / "a/fifo.img")
    assert sorted(os.listdir(inside(volume, ""))) == ["a", "b"]
    assert sorted(os.listdir(inside(volume, "a"))) == ["disk.img", "link.img"]
    assert (inside(volume, "a/nameless") / "p1/deep/er/letter.txt").read_text() == "dear"
    assert (inside(volume, "a/link.img") / "p1/deep/er/letter.txt").read_text() == "dear"
    assert os.listdir(inside(volume, "a/letter.txt")) == ["disk.img"]
    assert outcome(os.stat, inside(volume, "a/fifo.img"))[0] == "ENOENT"
    assert outcome(os.stat, inside(volume, "a/none.img"))[0] == "ENOENT"
    assert outcome(os.stat, inside(volume, ".twinfs"))[0] == "ENOENT"
    assert outcome(os.stat, inside(volume, ".twinfs/label.json"))[0] == "ENOENT"


def test_looking_at_names_opens_nothing(new_volume: Any, disk: Path) -> None:
    volume = new_volume("sync").init().mount_it()
    top = put(volume, disk)
    run("ls", "-l", top.parent)
    assert stat.S_ISDIR(top.stat().st_mode)
    assert readers_of(volume.primary / "disk.img") == []
    os.listdir(top)
    assert len(readers_of(volume.primary / "disk.img")) == 1


def test_a_directory_that_is_held_outlives_the_reader(new_volume: Any, disk: Path) -> None:
    volume = new_volume("sync").init().mount_it()
    top = put(volume, disk)
    directory = os.open(top / "p1/deep", os.O_RDONLY)
    try:
        [reader] = readers_of(volume.primary / "disk.img")
        os.kill(reader, 9)
        volume.tolerated.append("the reader of the image died")
        with os.fdopen(os.open("er/letter.txt", os.O_RDONLY, dir_fd=directory)) as letter:
            assert letter.read() == "dear"
        assert len(os.listdir(directory)) == 3002
    finally:
        os.close(directory)


def test_an_image_is_not_shown_while_it_is_written_and_read_anew_afterwards(
    volume: Volume, disk: Path, workspace: Path
) -> None:
    top = put(volume, disk)
    kept = (top / "p1/deep/er/letter.txt").open()
    (workspace / "other").mkdir()
    (workspace / "other/new").write_text("new")
    other = make_image(workspace / "other.img", workspace / "other")
    with (volume.mount / "disk.img").open("r+b") as image:
        assert outcome(os.listdir, top)[0] == "EBUSY"
        assert outcome(os.listdir, top / "p1/deep")[0] == "EBUSY"
        image.write(other.read_bytes())
    assert sorted(os.listdir(top / "p1")) == ["lost+found", "new"]
    assert (top / "p1/new").read_text() == "new"
    with kept:
        assert outcome(kept.read)[0] in ("ESTALE", None)
    shutil.copyfile(disk, volume.mount / "third")
    (volume.mount / "third").rename(volume.mount / "disk.img")
    assert (top / "p1/deep/er/letter.txt").read_text() == "dear"
    (volume.mount / "disk.img").unlink()
    assert outcome(os.stat, top)[0] == "ENOENT"


def test_nothing_can_be_changed_there(volume: Volume, disk: Path) -> None:
    top = put(volume, disk)
    answers = [
        outcome(os.unlink, top / "p1/large"),
        outcome(os.mkdir, top / "new"),
        outcome(os.open, top / "p1/large", os.O_WRONLY),
        outcome(os.rename, top, top.parent / "x"),
        outcome(os.chmod, top / "p1/large", 0o777),
        outcome(os.setxattr, top / "p1/large", "user.x", b"x"),
    ]
    assert {answer for answer, _ in answers} == {"EROFS"}, answers
    assert outcome(os.link, top / "p1/large", volume.mount / "x")[0] in ("EXDEV", "EROFS")
    assert (volume.mount / "disk.img").read_bytes() == disk.read_bytes()


def test_a_damaged_image_costs_itself_and_nothing_else(new_volume: Any, disk: Path) -> None:
    volume = new_volume("sync").init().mount_it()
    top = put(volume, disk)
    bad = put(volume, disk, "bad.img")
    write_at(volume.mount / "bad.img", START + 1024 + 0x18, b"\xff" * 64)  # the superblock's block size
    (volume.mount / "cut.qcow2").write_bytes(b"QFI\xfb" + struct.pack(">I", 3) + b"\xff" * 50)
    assert sorted(os.listdir(bad)) == ["disk.img", "p1.img"]
    assert (bad / "p1.img").stat().st_size == 22 * MIB
    assert outcome(os.listdir, inside(volume, "cut.qcow2"))[0] == "EIO"
    assert (top / "p1/deep/er/letter.txt").read_text() == "dear"
    assert "cut.qcow2" in (volume.state / "daemon.log").read_text()
    (volume.mount / "x").write_text("the volume lives")


def test_many_images_at_once(new_volume: Any, disk: Path) -> None:
    """More than there may be readers."""
    volume = new_volume("batched").init().mount_it()
    tops = [put(volume, disk, f"{number}.img") for number in range(12)]
    walks = [
        subprocess.Popen(["cat", top / "p1/large", top / "p1/deep/er/letter.txt"], stdout=subprocess.PIPE)
        for top in tops
    ]
    for walk in walks:
        assert walk.communicate(timeout=120)[0] == _CONTENT + b"dear"
        assert walk.returncode == 0
    count = sum(bool(readers_of(volume.primary / f"{number}.img")) for number in range(12))
    assert 0 < count <= 8


def test_it_goes_on_with_the_secondary(new_volume: Any, disk: Path) -> None:
    volume = new_volume("sync").init().mount_it()
    top = put(volume, disk)
    assert (top / "p1/deep/er/letter.txt").read_text() == "dear"
    volume.twinfs("promote", volume.name)
    assert (top / "p1/deep/er/letter.txt").read_text() == "dear"
    wait_until(lambda: not readers_of(volume.primary / "disk.img"), 30, "the old primary is still used")
    assert (top / "p1/large").read_bytes() == _CONTENT


def test_unmounting_ends_the_readers(new_volume: Any, disk: Path) -> None:
    volume = new_volume("sync").init().mount_it()
    top = put(volume, disk)
    os.listdir(top / "p1")
    [reader] = readers_of(volume.primary / "disk.img")
    volume.umount()
    wait_until(lambda: not Path(f"/proc/{reader}").exists(), 10, "a reader outlives the mount")


def test_a_capture_into_a_volume_ends_where_it_can_be_looked_into(volume: Volume, disk: Path) -> None:
    (volume.mount / "keys").mkdir()
    command = Path(sys.executable).with_name("twinfs-capture")
    done = run(command, "disk", disk, volume.mount / "keys/usb key.img")
    [place] = [line for line in (done.stdout + done.stderr).splitlines() if "/.twinfs/images/" in line]
    top = Path(place[place.index(str(volume.mount)) :])
    assert top == volume.mount / ".twinfs/images/keys/usb key.img/p1"
    assert (top / "deep/er/letter.txt").read_text() == "dear"


def test_a_disk_that_was_detached_can_be_taken_out_at_once(
    new_disk: Any, new_volume: Any, disk: Path
) -> None:
    one, two = new_disk("one"), new_disk("two")
    volume = new_volume("sync", legs=(one.path, two.path)).init().mount_it()
    top = put(volume, disk)
    held = os.open(top / "p1/large", os.O_RDONLY)
    try:
        assert os.pread(held, 100, 0) == _CONTENT[:100]
        volume.twinfs("detach", volume.name, "primary")
        run("umount", one.path)
        run("mount", one.device, one.path)
        assert (top / "p1/deep/er/letter.txt").read_text() == "dear"
    finally:
        os.close(held)
