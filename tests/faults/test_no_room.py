"""A leg without room: on the primary it is the caller's answer, on the secondary nobody's but the log's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from faults.alongside import alongside
from faults.scene import Scene
from faults.watching import count_of, events_of, status_of, wait_for, wait_for_state
from support.disks import Disk, immutable
from support.machine import needs_root, outcome
from support.volume import Volume
from twinfs.model import LegState, VolumeState

pytestmark = [needs_root, pytest.mark.deadline(240)]

MIB = 1 << 20


def write(path: Path, size: int) -> None:
    with open(path, "wb") as file:
        file.write(os.urandom(size))
        file.flush()
        os.fsync(file.fileno())


@pytest.mark.parametrize("mode", ["sync", "batched"])
@alongside
def test_a_full_primary_is_the_caller_s_answer_and_leaves_the_legs_equal(base: Path, mode: str) -> None:
    with Scene(base, mode, "dir", first="ext4") as scene:
        volume = scene.volume
        for number in range(100):
            answer, _ = outcome(write, volume.mount / f"file{number}", MIB)
            if answer != "ok":
                break
        assert answer == "ENOSPC"
        (volume.mount / "an empty one").touch()
        assert outcome(write, volume.mount / "one more", MIB)[0] == "ENOSPC"
        volume.assert_legs_equal()
        assert count_of(volume, "secondary_failed", "not_mirrored") == 0
        (volume.mount / "file0").unlink()
        (volume.mount / "file1").unlink()
        write(volume.mount / "fits now", MIB)
        volume.assert_legs_equal()


@alongside
def test_a_primary_that_is_full_only_at_fsync_says_so(base: Path) -> None:
    with Scene(base, "sync", "dir", first="faultfs") as scene:
        assert scene.first_layer is not None
        scene.first_layer.fail("fsync", errno="ENOSPC", path="docs/file2")
        assert outcome(write, scene.mount / "docs/file2", 1000)[0] == "ENOSPC"
        write(scene.mount / "docs/file3", 1000)
        scene.first_layer.clear()
        scene.volume.assert_legs_equal()


@pytest.mark.parametrize("settings", [(), ('keep_versions = "30d"',)], ids=["plain", "keeping"])
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
@alongside
def test_a_full_secondary_is_told_once_with_what_it_lacks_and_drains_when_there_is_room(
    base: Path, kind: str, settings: tuple[str, ...]
) -> None:
    with Scene(base, "batched" if kind == "xfs" else "sync", kind, settings=settings) as scene:
        volume, disk = scene.volume, scene.disk
        assert disk is not None
        ballast = disk.fill(leave_bytes=2 * MIB)
        for number in range(12):
            write(scene.mount / f"docs/large{number}", MIB)
        (scene.mount / "attic/after").write_text("x")
        [event] = wait_for_events(volume, "not_mirrored")
        assert "No space left on device" in event
        assert " MiB more are needed" in event
        missing = float(event.partition(" MiB more")[0].split()[-1])
        assert 0 < missing < 14
        status = status_of(volume)
        # The one while it is tried again by comparing, the other in between.
        assert status.state in (VolumeState.DIRTY, VolumeState.RESYNCING)
        assert status.legs[1].state is LegState.STALE
        assert status.pending.changes > 0
        assert status.action == event
        assert volume.twinfs("status", volume.name, check=False).returncode == 3
        write(scene.mount / "docs/larger", MIB)
        done = volume.twinfs("sync", volume.name, check=False)
        assert done.returncode == 1
        assert "could not be brought up to date" in done.stderr
        assert count_of(volume, "not_mirrored") == 1
        ballast.unlink()
        wait_for_state(volume, VolumeState.CLEAN)
        assert count_of(volume, "secondary_failed") == 0
        assert status_of(volume).action is None
        volume.assert_legs_equal()


def wait_for_events(volume: Volume, kind: str) -> list[str]:
    wait_for(lambda: count_of(volume, kind), f"no event {kind}")
    return [event.message for event in events_of(volume, kind)]


@alongside
def test_a_secondary_without_inodes_takes_what_it_can_and_the_rest_later(base: Path) -> None:
    with Scene(base, "sync", lambda path: Disk(path, "ext4", more_words=("-N", "64"))) as scene:
        for number in range(100):
            (scene.mount / f"docs/small{number}").write_text("x")
        (scene.mount / "docs/file2").write_text("an old one, which needs no inode")
        [event] = wait_for_events(scene.volume, "not_mirrored")
        assert "No space left on device" in event
        for number in range(10, 100):
            (scene.mount / f"docs/small{number}").unlink()
        wait_for_state(scene.volume, VolumeState.CLEAN)
        scene.volume.assert_legs_equal()
        assert count_of(scene.volume, "secondary_failed") == 0


@alongside
def test_a_full_secondary_that_fails_comes_back_full_so_that_room_can_be_made(base: Path) -> None:
    with Scene(base, "sync", "ext4") as scene:
        volume, disk = scene.volume, scene.disk
        assert disk is not None
        for number in range(6):
            write(scene.mount / f"docs/large{number}", MIB)
        volume.sync()
        disk.fill(leave_bytes=0)
        fill_up(disk.path / ".twinfs/quarantine")
        disk.make_read_only()
        write(scene.mount / "docs/later", 2 * MIB)
        wait_for_state(volume, VolumeState.DEGRADED)
        disk.take_out()
        disk.put_in()
        wait_for(lambda: status_of(volume).state is not VolumeState.DEGRADED, "it stays away")
        for number in range(6):
            (scene.mount / f"docs/large{number}").unlink()
        wait_for_state(volume, VolumeState.CLEAN)
        wait_for(lambda: count_of(volume, "secondary_back"), "nobody was told that it is back")
        volume.assert_legs_equal()


def fill_up(directory: Path) -> None:
    """To the last block."""
    with open(directory / "crumbs", "wb", buffering=0) as file:
        while outcome(file.write, b"x" * 512)[0] == "ok":
            os.fsync(file.fileno())


@alongside
def test_a_label_that_cannot_be_written_does_not_end_the_volume(base: Path) -> None:
    with Scene(base, "sync", "faultfs") as scene:
        assert scene.layer is not None
        scene.layer.fail("write", errno="EIO")
        write(scene.mount / "docs/file1", 1000)
        wait_for_state(scene.volume, VolumeState.DEGRADED)
        scene.layer.clear()
        # The first time the label says "in use" again, the second that the leg has caught up.
        rule = scene.layer.fail("create", errno="EIO", path=".twinfs/label.json.new", after=1, times=1)
        wait_for(lambda: rule.hits, "the label was not written")
        wait_for_state(scene.volume, VolumeState.CLEAN)
        scene.volume.assert_legs_equal()


@alongside
def test_a_quota_on_the_secondary_holds_up_only_whose_it_is(base: Path) -> None:
    """What the kernel says of a quota, said by a fault layer: not every kernel has quotas."""
    with Scene(base, "sync", "faultfs") as scene:
        assert scene.layer is not None
        scene.layer.fail("write", errno="EDQUOT", path="*theirs*")
        scene.layer.fail("write", errno="EDQUOT", path=".twinfs/tmp/*")
        write(scene.mount / "theirs", 3 * MIB)
        write(scene.mount / "ours", 3 * MIB)
        [event] = wait_for_events(scene.volume, "not_mirrored")
        assert "theirs: Disk quota exceeded, 3.0 MiB more are needed" in event
        assert status_of(scene.volume).pending.changes == 1
        scene.layer.clear()
        wait_for_state(scene.volume, VolumeState.CLEAN)
        scene.volume.assert_legs_equal()


@pytest.mark.parametrize("mode", ["sync", "batched"])
@alongside
def test_an_immutable_file_on_the_secondary_holds_up_only_itself(base: Path, mode: str) -> None:
    with Scene(base, mode, "ext4") as scene:
        with immutable(scene.leg / "docs/file1"), immutable(scene.leg / "attic"):
            (scene.mount / "docs/file1").write_text("changed here")
            (scene.mount / "docs/file2").write_text("changed, too")
            (scene.mount / "attic/new").write_text("new")
            events = wait_for_events(scene.volume, "not_mirrored")
            assert all("Operation not permitted" in event for event in events)
            wait_for(lambda: (scene.leg / "docs/file2").read_text() == "changed, too", "others wait, too")
            assert not (scene.leg / "attic/new").exists()
            assert (scene.mount / "docs/file1").read_text() == "changed here"
        wait_for_state(scene.volume, VolumeState.CLEAN)
        scene.volume.assert_legs_equal()
        assert count_of(scene.volume, "not_mirrored") <= 2
        assert count_of(scene.volume, "secondary_failed") == 0


@pytest.mark.parametrize("smaller", ["first", "second"])
@alongside
def test_statfs_tells_of_the_smaller_leg(base: Path, smaller: str) -> None:
    sizes = {"first": 96 * MIB, "second": 96 * MIB} | {smaller: 48 * MIB}

    def make(path: Path) -> Disk:
        return Disk(path, "ext4", sizes[path.name])

    with Scene(base, "sync", make, first=make) as scene:
        ours, theirs = os.statvfs(scene.mount), os.statvfs(base / smaller)
        assert ours.f_bavail * ours.f_frsize == pytest.approx(theirs.f_bavail * theirs.f_frsize, abs=MIB)
        assert ours.f_blocks * ours.f_frsize == pytest.approx(theirs.f_blocks * theirs.f_frsize, abs=MIB)
