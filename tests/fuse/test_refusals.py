"""The wrong disk, no disk, swapped disks: refused with a hint, and nothing on either side is touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support import tree
from support.disks import Disk
from support.machine import is_mounted, needs_root, run
from support.volume import Volume


@pytest.fixture
def filled(new_volume, workspace: Path) -> Volume:
    """A volume with data on two plain directories, unmounted and clean."""
    volume: Volume = new_volume("batched", legs=(workspace / "one", workspace / "two")).init().mount_it()
    fill(volume)
    return volume


def fill(volume: Volume) -> None:
    (volume.mount / "dir").mkdir()
    (volume.mount / "dir/file").write_text("precious")
    volume.umount()


def assert_refused(volume: Volume, *hints: str) -> None:
    """Neither mount nor sync works, the words say why, and no leg has changed."""
    before = [tree.snapshot(leg) for leg in (volume.primary, volume.secondary)]
    for words in (("mount", volume.name, str(volume.mount)), ("sync", volume.name)):
        done = volume.twinfs(*words, check=False)
        assert done.returncode == 1, done
        assert "Traceback" not in done.stderr
        for hint in hints:
            assert hint in done.stderr
    assert not is_mounted(volume.mount)
    assert [tree.snapshot(leg) for leg in (volume.primary, volume.secondary)] == before


@pytest.mark.parametrize("role", ("primary", "secondary"))
def test_a_leg_without_a_label_is_refused(filled: Volume, role: str) -> None:
    leg: Path = getattr(filled, role)
    shutil.rmtree(leg / ".twinfs")
    assert_refused(filled, role, str(leg))


@pytest.mark.parametrize("role", ("primary", "secondary"))
def test_an_empty_directory_in_a_leg_s_place_is_refused(filled: Volume, role: str) -> None:
    leg: Path = getattr(filled, role)
    leg.rename(leg.with_name("elsewhere"))
    leg.mkdir()
    assert_refused(filled, role, str(leg))
    assert os.listdir(leg) == []


@pytest.mark.parametrize("role", ("primary", "secondary"))
def test_a_missing_directory_is_refused(filled: Volume, role: str) -> None:
    leg: Path = getattr(filled, role)
    leg.rename(leg.with_name("elsewhere"))
    done = filled.twinfs("mount", filled.name, filled.mount, check=False)
    assert done.returncode == 1
    assert str(leg) in done.stderr
    assert not leg.exists()
    leg.mkdir()  # for the teardown's comparison to have something to look at


def test_a_leg_of_another_volume_is_refused(filled: Volume, new_volume) -> None:
    other: Volume = new_volume("sync", name="other").init().mount_it()
    fill(other)
    filled.secondary.rename(filled.secondary.with_name("elsewhere"))
    other.secondary.rename(filled.secondary)
    assert_refused(filled, "secondary", "another volume")


def test_swapped_legs_are_refused(filled: Volume) -> None:
    aside = filled.primary.with_name("aside")
    filled.primary.rename(aside)
    filled.secondary.rename(filled.primary)
    aside.rename(filled.secondary)
    assert_refused(filled, "swapped")


def test_a_damaged_label_is_refused(filled: Volume) -> None:
    (filled.primary / ".twinfs/label.json").write_bytes(b'{"volume": "pa')
    assert_refused(filled, "label")


@needs_root
def test_an_unmounted_primary_leaves_the_mirror_alone(new_volume, new_disk: Callable[..., Disk]) -> None:
    one, two = new_disk("disk-one"), new_disk("disk-two")
    volume: Volume = new_volume("batched", legs=(one.path, two.path)).init().mount_it()
    fill(volume)
    one.take_out()
    assert_refused(volume, "primary", str(one.path))
    assert (two.path / "dir/file").read_text() == "precious"
    one.put_in()
    volume.mount_it().assert_legs_equal()
    volume.umount()
    two.take_out()
    assert_refused(volume, "secondary", str(two.path))
    assert os.listdir(two.path) == []


@needs_root
def test_a_copy_of_the_disk_on_another_file_system_is_refused(
    new_volume, new_disk: Callable[..., Disk]
) -> None:
    one, two, copy = new_disk("disk-one"), new_disk("disk-two"), new_disk("copy")
    volume: Volume = new_volume("sync", legs=(one.path, two.path)).init().mount_it()
    fill(volume)
    run("cp", "-a", f"{one.path}/.", copy.path)
    copy.take_out()
    one.take_out()
    one.image, copy.image = copy.image, one.image
    one.put_in()
    assert (one.path / ".twinfs/label.json").exists()
    assert_refused(volume, "primary", "another file system")


@needs_root
def test_fresh_disks_with_lost_and_found_become_legs(new_volume, new_disk: Callable[..., Disk]) -> None:
    one, two = new_disk("disk-one"), new_disk("disk-two")
    volume: Volume = new_volume("sync", legs=(one.path, two.path)).init().mount_it()
    (volume.mount / "file").write_text("x")
    volume.assert_legs_equal()


@needs_root
def test_statfs_shows_the_smaller_leg(new_volume, new_disk: Callable[..., Disk]) -> None:
    large, small = new_disk("large", size_bytes=96 << 20), new_disk("small", size_bytes=40 << 20)
    volume: Volume = new_volume("sync", legs=(large.path, small.path)).init().mount_it()
    ours, theirs = os.statvfs(volume.mount), os.statvfs(small.path)
    assert ours.f_blocks * ours.f_frsize == theirs.f_blocks * theirs.f_frsize
    assert ours.f_bavail * ours.f_frsize == theirs.f_bavail * theirs.f_frsize
    assert ours.f_files <= theirs.f_files
    assert "40M" not in run("df", "-h", volume.mount).stdout or ours.f_frsize


def test_init_refuses_what_cannot_be_a_pair(new_volume, workspace: Path) -> None:
    volume: Volume = new_volume("sync", legs=(workspace / "one", workspace / "two"))
    (volume.primary / "inside").mkdir()
    (volume.secondary / "file").write_text("not to be lost")
    (workspace / "plain-file").touch()
    (workspace / "to-one").symlink_to("one")

    def init(first: Path, second: Path, name: str = "pair") -> int:
        done = volume.twinfs("init", first, second, "--name", name, check=False)
        assert "Traceback" not in done.stderr
        assert done.stderr.strip()
        return done.returncode

    one, two = volume.primary, volume.secondary
    assert init(one, one) == 2
    assert init(one, workspace / "to-one") == 2
    assert init(one, one / "inside") == 2
    assert init(one / "inside", one) == 2
    assert init(one, two) == 1  # holds a file, and --adopt was not said
    assert init(one, workspace / "missing") == 1
    assert init(one, workspace / "plain-file") == 1
    assert init(one, two, name="no/name") == 2
    assert not (one / ".twinfs").exists()
    assert not (two / ".twinfs").exists()
    (two / "file").unlink()
    assert init(one, two) == 0
    assert init(one, two, name="again") == 1
    assert init(one, two) in (1, 2)


def test_init_changes_no_file(new_volume) -> None:
    volume: Volume = new_volume("sync")
    (volume.primary / "file").write_text("x")
    before = tree.snapshot(volume.primary)
    volume.init()
    assert tree.differences(before, tree.snapshot(volume.primary), ignore=frozenset({"dir_mtime"})) == []
    assert sorted(os.listdir(volume.secondary)) == [".twinfs"]


@pytest.mark.parametrize("role", ("primary", "secondary"))
def test_a_leg_taken_away_while_mounted_is_never_written_beneath(
    new_volume, new_disk: Callable[..., Disk], role: str
) -> None:
    """The lazily unmounted disk is still open; the empty directory that its path leads to now stays empty."""
    disks = {"primary": new_disk("disk-one"), "secondary": new_disk("disk-two")}
    volume: Volume = (
        new_volume("sync", legs=(disks["primary"].path, disks["secondary"].path)).init().mount_it()
    )
    (volume.mount / "before").write_text("x")
    run("umount", "-l", disks[role].path)
    (volume.mount / "after").write_text("y")
    volume.umount()
    assert os.listdir(disks[role].path) == []
    disks[role].take_out()
    disks[role].put_in()
    volume.mount_it()
    assert (volume.mount / "after").read_text() == "y"
    volume.assert_legs_equal()


@needs_root
def test_a_volume_without_its_secondary_is_mounted_degraded_and_caught_up_later(
    new_volume, new_disk: Callable[..., Disk]
) -> None:
    one, two = new_disk("disk-one"), new_disk("disk-two")
    volume: Volume = new_volume("sync", legs=(one.path, two.path)).init().mount_it()
    fill(volume)
    two.take_out()
    volume.mount_it("--degraded")
    status = volume.status()
    assert (status["state"], status["legs"][1]["state"]) == ("degraded", "missing")
    assert volume.twinfs("status", volume.name, check=False).returncode == 3
    (volume.mount / "dir/new").write_text("written with one leg")
    os.rename(volume.mount / "dir", volume.mount / "renamed")
    volume.tolerated.append(r"is missing; \d+ changes? pending")
    done = volume.twinfs("umount", volume.name, check=False)
    assert "missing" in done.stderr
    assert not is_mounted(volume.mount)
    volume.wait_until_dead()
    assert os.listdir(two.path) == []
    two.put_in()
    volume.mount_it().assert_legs_equal()
    assert (two.path / "renamed/new").read_text() == "written with one leg"


@needs_root
def test_a_full_secondary_is_not_the_caller_s_problem(new_volume, new_disk: Callable[..., Disk]) -> None:
    large, small = new_disk("large", size_bytes=128 << 20), new_disk("small", size_bytes=40 << 20)
    volume: Volume = new_volume("sync", legs=(large.path, small.path)).init().mount_it()
    ballast = small.path / ".twinfs/quarantine/ballast"
    ballast.write_bytes(
        bytes(int(os.statvfs(small.path).f_bavail * os.statvfs(small.path).f_frsize) - (2 << 20))
    )
    (volume.mount / "file").write_bytes(b"more than fits" * (1 << 19))
    (volume.mount / "dir").mkdir()
    assert (volume.mount / "file").stat().st_size == 14 << 19
    status = volume.status()
    assert status["pending"]["changes"] > 0
    assert status["legs"][1]["state"] in ("stale", "in_sync")
    ballast.unlink()
    volume.assert_legs_equal()
