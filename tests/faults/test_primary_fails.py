"""The primary fails while the volume is in use: the work goes on with the secondary."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.alongside import alongside
from faults.daily_use import use
from faults.scene import Scene
from faults.watching import count_of, events_of, status_of, wait_for, wait_for_state
from support import tree
from support.disks import Disk, forget_pages
from support.faultfs import CHANGING, EVERYTHING
from support.machine import needs_root, run
from support.volume import wait_until
from twinfs.model import LegState, Role, VolumeState

pytestmark = [needs_root, pytest.mark.deadline(240)]

_IGNORED = frozenset({"dir_mtime"})


@dataclass(frozen=True)
class Row:
    """One way for the primary to fail."""

    name: str
    mode: str
    kind: str
    fail: Callable[[Scene], object]


def _disk(scene: Scene) -> Disk:
    assert scene.first_disk is not None
    return scene.first_disk


def _layer_fails(*operations: str, errno: str) -> Callable[[Scene], object]:
    return lambda scene: scene.first_layer and scene.first_layer.fail(*operations, errno=errno)


ROWS = (
    Row("ext4-power-cut", "sync", "ext4", lambda scene: _disk(scene).shut_down()),
    Row("xfs-power-cut", "batched", "xfs", lambda scene: _disk(scene).shut_down()),
    Row("ext4-read-only", "sync", "ext4", lambda scene: _disk(scene).make_read_only()),
    Row("eio-everywhere", "sync", "faultfs", _layer_fails(*EVERYTHING, errno="EIO")),
    Row("enodev-when-changed", "batched", "faultfs", _layer_fails(*CHANGING, errno="ENODEV")),
    Row("gone", "sync", "faultfs", lambda scene: scene.first_layer and scene.first_layer.kill()),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@alongside
def test_the_volume_goes_on_with_the_secondary(base: Path, row: Row) -> None:
    with Scene(base, row.mode, "dir", first=row.kind) as scene:
        volume, mount = scene.volume, scene.mount
        before = tree.snapshot(scene.leg)
        with open(mount / "docs/file7", "r+b") as held:
            row.fail(scene)
            for turn in (1, 2):
                use(mount, turn)
            held.write(b"written through a file that was open before")
        assert (mount / "docs/file7").read_bytes().startswith(b"written through a file that was open")
        status = status_of(volume)
        assert status.state is VolumeState.DEGRADED
        assert [(leg.role, leg.path) for leg in status.legs] == [
            (Role.PRIMARY, str(scene.leg)),
            (Role.SECONDARY, str(scene.first)),
        ]
        assert status.legs[0].state is LegState.IN_SYNC
        assert status.unreached == ()
        assert count_of(volume, "primary_failed") == count_of(volume, "promoted") == 1
        now = tree.snapshot(scene.leg)
        assert set(before) - set(now) == set(), "lost"
        assert now == tree.snapshot(mount)
        _come_back_as_secondary(scene)


def _come_back_as_secondary(scene: Scene) -> None:
    volume = scene.volume
    if scene.first_layer is not None:
        if scene.first_layer.is_running:
            scene.first_layer.clear()
        else:
            scene.first_layer.start()
        wait_for_state(volume, VolumeState.CLEAN, 90)
    else:
        scene.put_back_first()
    use(scene.mount, 3)
    if volume.mode == "sync":
        # Times of directories follow when there is a pause.
        tree.assert_same(scene.leg, scene.first, ignore=_IGNORED)
    volume.sync()
    volume.assert_rsync_finds_nothing()
    tree.assert_same(scene.leg, scene.first)
    volume.umount()
    label = json.loads((scene.leg / ".twinfs/label.json").read_text())
    assert (label["role"], label["is_alone"]) == ("primary", False)
    volume.mount_it()
    assert [leg["path"] for leg in volume.status()["legs"]] == [str(scene.leg), str(scene.first)]


@alongside
def test_what_had_not_reached_the_secondary_is_named_and_kept(base: Path) -> None:
    scene = Scene(base, "batched", "dir", first="ext4")
    scene.volume.interval = "1h"
    with scene:
        volume, mount = scene.volume, scene.mount
        (mount / "docs/file1").write_text("only the primary has this")
        os.fsync(fd := os.open(mount / "docs/file1", os.O_RDONLY))
        os.close(fd)
        (mount / "docs/new").write_text("and this")
        os.rename(mount / "attic", mount / "cellar")
        (mount / "photos/late").mkdir()
        run("sync", "-f", scene.first)
        _disk(scene).shut_down()
        (mount / "docs/file2").write_text("after")
        status = status_of(volume)
        assert {"docs/file1", "docs/new", "attic", "cellar", "photos/late"} <= set(status.unreached)
        assert "docs/file2" not in status.unreached
        assert "5 paths had not reached it" in events_of(volume, "promoted")[0].message
        assert (mount / "docs/file1").read_bytes() == b"1 " * 500
        wait_until(lambda: not (mount / "docs/new").exists(), 10, "the kernel still knows what is gone")
        assert (mount / "attic").is_dir() and not (mount / "cellar").exists()
        assert (mount / "docs/file2").read_text() == "after"
        scene.put_back_first()
        tree.assert_same(scene.leg, scene.first)
        wait_for(lambda: status_of(volume).unreached == (), "what is back is still named")
        kept = {
            path.name: path.read_text()
            for path in (scene.first / ".twinfs/quarantine").rglob("*")
            if path.is_file() and path.name in ("file1", "new")
        }
        assert kept == {"file1": "only the primary has this", "new": "and this"}


@pytest.mark.parametrize("mode", ("sync", "batched"))
@alongside
def test_a_file_that_the_primary_cannot_read_is_answered_and_mended(base: Path, mode: str) -> None:
    with Scene(base, mode, "dir", first="faultfs") as scene:
        assert scene.first_layer is not None
        volume = scene.volume
        wanted = (scene.leg / "photos/2024/large").read_bytes()
        before = (scene.first / "photos/2024/large").stat().st_mtime_ns
        volume.umount()  # and with it what the kernel has in its cache
        volume.mount_it()
        forget_pages(scene.first / "photos/2024/large")
        rule = scene.first_layer.fail("read", errno="EIO", path="photos/2024/large", times=3)
        assert (scene.mount / "photos/2024/large").read_bytes() == wanted
        assert rule.hits
        wait_for(lambda: count_of(volume, "mended"), "the primary was not mended")
        assert status_of(volume).state is VolumeState.CLEAN
        assert count_of(volume, "promoted", "error") == 0
        assert (scene.first / "photos/2024/large").stat().st_mtime_ns == before
        tree.assert_same(scene.first, scene.leg)


@alongside
def test_an_unreadable_file_that_the_secondary_does_not_have_yet_is_an_error(base: Path) -> None:
    scene = Scene(base, "batched", "dir", first="faultfs")
    scene.volume.interval = "1h"
    with scene:
        assert scene.first_layer is not None
        (scene.mount / "docs/file1").write_text("changed")
        fd = os.open(scene.mount / "docs/file1", os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        scene.first_layer.fail("read", errno="EIO", path="docs/file1")
        with pytest.raises(OSError, match="Input/output error"):
            os.pread(fd, 100, 0)
        os.close(fd)
        assert (scene.leg / "docs/file1").read_bytes() == b"1 " * 500
        scene.first_layer.clear()
        scene.volume.sync()
        assert (scene.leg / "docs/file1").read_text() == "changed"


@alongside
def test_what_a_batch_cannot_read_of_the_primary_is_not_the_secondary_s_fault(base: Path) -> None:
    scene = Scene(base, "batched", "dir", first="faultfs")
    scene.volume.interval = "1h"
    with scene:
        assert scene.first_layer is not None
        volume = scene.volume
        for name in ("docs/file1", "docs/file2"):
            (scene.mount / name).write_text("changed")
            run("sync", "-f", scene.mount / name)
            forget_pages(scene.first / name)
        scene.first_layer.fail("read", errno="EIO", path="docs/file1")
        assert volume.twinfs("sync", volume.name, check=False).returncode == 1
        assert count_of(volume, "secondary_failed") == 0
        assert "the primary cannot read docs/file1" in events_of(volume, "not_mirrored")[0].message
        assert (scene.leg / "docs/file2").read_text() == "changed"
        assert (scene.leg / "docs/file1").read_bytes() == b"1 " * 500
        scene.first_layer.clear()
        volume.sync()
        assert (scene.leg / "docs/file1").read_text() == "changed"


@alongside
def test_a_primary_that_dies_in_the_middle_of_a_batch_is_replaced_at_once(base: Path) -> None:
    scene = Scene(base, "batched", "faultfs", first="ext4", leg_timeout="20s")
    scene.volume.interval = "1h"
    with scene:
        assert scene.layer is not None
        volume, mount = scene.volume, scene.mount
        (mount / "photos/2024/large").write_bytes(b"later" * 1_000_000)
        run("sync", "-f", mount / "photos/2024/large")
        rule = scene.layer.hang("write", path=".twinfs/tmp/*")
        batch = volume.start_twinfs("sync", volume.name)
        rule.wait_until_hit()
        _disk(scene).shut_down()
        rule.remove()
        (mount / "docs/file2").write_text("after")
        assert count_of(volume, "secondary_failed") == 0
        assert count_of(volume, "promoted") == 1
        assert status_of(volume).unreached == ("photos/2024/large",)
        assert (mount / "photos/2024/large").stat().st_size == 1 << 20
        batch.communicate(timeout=60)
        scene.put_back_first()


@alongside
def test_a_primary_that_fails_when_the_secondary_is_out_is_only_an_error(base: Path) -> None:
    with Scene(base, "sync", "faultfs", first="faultfs") as scene:
        assert scene.first_layer is not None and scene.layer is not None
        scene.layer.fail(*EVERYTHING, errno="EIO")
        use(scene.mount, 1)
        wait_for_state(scene.volume, VolumeState.DEGRADED)
        scene.first_layer.fail(*CHANGING, errno="EIO")
        with pytest.raises(OSError, match="Input/output error"):
            (scene.mount / "docs/never").mkdir()
        assert count_of(scene.volume, "promoted") == 0
        assert count_of(scene.volume, "primary_failed") == 1
        assert status_of(scene.volume).state is VolumeState.FAILED
        scene.first_layer.clear()
        wait_for(lambda: count_of(scene.volume, "primary_back"), "the primary works, and nobody says so")
        use(scene.mount, 2)
        scene.layer.clear()
        wait_for_state(scene.volume, VolumeState.CLEAN, 90)
        tree.assert_same(scene.first, scene.leg)


@pytest.mark.parametrize("mode", ("sync", "batched"))
@alongside
def test_when_both_disks_die_the_volume_says_that_it_has_failed(base: Path, mode: str) -> None:
    with Scene(base, mode, "ext4", first="xfs") as scene:
        volume, disk = scene.volume, scene.disk
        assert disk is not None
        volume.tolerated.append(".")
        (scene.mount / "docs/durable").write_text("before")
        volume.sync()
        disk.shut_down()
        _disk(scene).shut_down()
        with pytest.raises(OSError, match="Input/output error"):
            (scene.mount / "docs/never").mkdir()
        wait_for(lambda: status_of(volume).state is VolumeState.FAILED, "nobody says so")
        status = status_of(volume)
        assert [leg.state for leg in status.legs] == [LegState.FAULTY, LegState.FAULTY]
        assert status.action is not None and "both disks are out" in status.action
        assert count_of(volume, "primary_failed") == 1
        assert volume.twinfs("status", volume.name, check=False).returncode == 3
        assert volume.twinfs("umount", volume.name, check=False).returncode == 1
        volume.wait_until_dead()
        for each in (disk, _disk(scene)):
            each.take_out()
            each.put_in()
        volume.mount_it()
        wait_for_state(volume, VolumeState.CLEAN, 90)
        assert (scene.mount / "docs/durable").read_text() == "before"
        tree.assert_same(scene.leg, scene.first)


@pytest.mark.parametrize("moment", ("before anything", "in use"))
@alongside
def test_without_its_primary_a_volume_starts_only_when_told_to(base: Path, moment: str) -> None:
    with Scene(base, "sync", "dir", first="ext4") as scene:
        volume = scene.volume
        use(scene.mount, 1)
        if moment == "in use":
            volume.kill()
            volume.abandon()
        else:
            volume.umount()
        _disk(scene).take_out()
        refused = volume.twinfs("mount", volume.name, volume.mount, check=False)
        assert refused.returncode == 1
        assert "--degraded" in refused.stderr
        label = (scene.leg / ".twinfs/label.json").read_text()
        volume.mount_it("--degraded")
        assert (scene.leg / ".twinfs/label.json").read_text() != label
        use(scene.mount, 2)
        _disk(scene).put_in()
        wait_for_state(volume, VolumeState.CLEAN, 90)
        tree.assert_same(scene.leg, scene.first)


@alongside
def test_who_has_a_file_open_that_went_back_is_told(base: Path) -> None:
    """Its content is an earlier one now, and the kernel knows its later size."""
    scene = Scene(base, "batched", "dir", first="ext4")
    scene.volume.interval = "1h"
    with scene, open(scene.mount / "docs/file1", "r+b", buffering=0) as held:
        os.ftruncate(held.fileno(), 0)
        held.write(b"short")
        os.fsync(held.fileno())
        _disk(scene).shut_down()
        (scene.mount / "docs/file2").write_text("after")
        with pytest.raises(OSError, match=r"Errno (5|116)\b"):
            held.write(b"more")
            os.fsync(held.fileno())
        path = scene.mount / "docs/file1"
        assert path.stat().st_size == 1000
        with path.open("r+b") as anew:
            assert anew.read() == b"1 " * 500
            anew.write(b"the end")
        assert path.read_bytes() == (scene.leg / "docs/file1").read_bytes() == b"1 " * 500 + b"the end"
        scene.put_back_first()


@alongside
def test_who_has_a_file_open_that_lost_nothing_goes_on(base: Path) -> None:
    scene = Scene(base, "batched", "dir", first="ext4")
    scene.volume.interval = "1h"
    with scene, open(scene.mount / "docs/file7", "r+b", buffering=0) as held:
        _disk(scene).shut_down()
        held.write(b"the first to notice")
        os.fsync(held.fileno())
        assert status_of(scene.volume).unreached == ()
        assert (scene.leg / "docs/file7").read_bytes().startswith(b"the first to notice 7 7")
        held.truncate(3)
        assert (scene.mount / "docs/file7").read_bytes() == b"the"
        scene.put_back_first()
