"""The secondary fails while the volume is in use, and comes back: nobody who works there notices either.

All of these run side by side, because each waits for the daemon to look at the disk again.
"""

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
from faults.watching import count_of, log_bytes, status_of, wait_for, wait_for_state
from support import tree
from support.disks import Disk
from support.faultfs import CHANGING, EVERYTHING, Rule
from support.machine import needs_root, run
from twinfs.model import LegState, VolumeState

pytestmark = [needs_root, pytest.mark.deadline(240)]


@dataclass(frozen=True)
class Row:
    """One way to fail and to come back."""

    name: str
    mode: str
    kind: str
    fail: Callable[[Scene], object]
    mend: Callable[[Scene], object]


def _disk(scene: Scene) -> Disk:
    assert scene.disk is not None
    return scene.disk


def _put_back(scene: Scene) -> None:
    """Out of the slot and in again: another mount, as after a loose cable. The daemon must let go of the
    failed one by itself: XFS does not mount the same disk a second time before that."""
    disk = _disk(scene)
    disk.take_out()
    wait_for(lambda: outcome_of_mount(disk) == "", "the failed disk is not let go of")


def outcome_of_mount(disk: Disk) -> str:
    try:
        disk.put_in()
    except AssertionError as error:
        disk.take_out()
        return str(error)
    return ""


def _layer_fails(*operations: str, errno: str) -> Callable[[Scene], object]:
    return lambda scene: scene.layer and scene.layer.fail(*operations, errno=errno)


def _clear(scene: Scene) -> None:
    assert scene.layer is not None
    scene.layer.clear()


ROWS = (
    Row("ext4-power-cut", "sync", "ext4", lambda scene: _disk(scene).shut_down(), _put_back),
    Row("xfs-power-cut", "batched", "xfs", lambda scene: _disk(scene).shut_down(), _put_back),
    Row("ext4-read-only", "batched", "ext4", lambda scene: _disk(scene).make_read_only(), _put_back),
    Row(
        "btrfs-read-only",
        "sync",
        "btrfs",
        lambda scene: _disk(scene).make_read_only(),
        lambda scene: run("mount", "-o", "remount,rw", scene.leg),
    ),
    Row("eio-everywhere", "sync", "faultfs", _layer_fails(*EVERYTHING, errno="EIO"), _clear),
    Row("enodev", "batched", "faultfs", _layer_fails(*EVERYTHING, errno="ENODEV"), _clear),
    Row("estale-when-changed", "sync", "faultfs", _layer_fails(*CHANGING, errno="ESTALE"), _clear),
    Row("timed-out-writing", "batched", "faultfs", _layer_fails("write", errno="ETIMEDOUT"), _clear),
    Row(
        "gone",
        "sync",
        "faultfs",
        lambda scene: scene.layer and scene.layer.kill(),
        lambda scene: scene.layer and scene.layer.start(),
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@alongside
def test_the_volume_goes_on_and_the_secondary_catches_up_by_itself(base: Path, row: Row) -> None:
    with Scene(base, row.mode, row.kind) as scene:
        volume = scene.volume
        row.fail(scene)
        use(volume.mount, 1)
        status = wait_for_state(volume, VolumeState.DEGRADED)
        assert status.legs[1].state in (LegState.FAULTY, LegState.MISSING)
        before = status.pending.changes, log_bytes(volume)
        use(volume.mount, 2)
        assert status_of(volume).pending.changes > before[0] > 0
        assert log_bytes(volume) > before[1]
        assert count_of(volume, "secondary_failed") == 1
        row.mend(scene)
        use(volume.mount, 3)
        wait_for_state(volume, VolumeState.CLEAN)
        wait_for(lambda: count_of(volume, "secondary_back"), "nobody was told that it is back")
        assert count_of(volume, "secondary_failed") == count_of(volume, "secondary_back") == 1
        volume.assert_legs_equal()
        use(volume.mount, 4)
        volume.assert_legs_equal()


@pytest.mark.parametrize("other", ["without a label", "of another volume", "with its label copied"])
@alongside
def test_another_disk_in_its_place_is_not_touched(base: Path, other: str) -> None:
    with Scene(base, "batched", "ext4") as scene:
        volume, disk = scene.volume, _disk(scene)
        ours = (scene.leg / ".twinfs/label.json").read_text()
        disk.shut_down()
        use(volume.mount, 1)
        wait_for_state(volume, VolumeState.DEGRADED)
        disk.take_out()
        stranger = Disk(base / "stranger", "ext4")
        disk.image, stranger.image = stranger.image, disk.image
        disk.put_in()
        (disk.path / "precious").write_text("not ours")
        if other != "without a label":
            for name in ("quarantine", "tmp"):
                (disk.path / ".twinfs" / name).mkdir(parents=True)
            label = ours if "copied" in other else ours.replace(json.loads(ours)["volume_id"], "another")
            (disk.path / ".twinfs/label.json").write_text(label)
        before = everything_on(disk.path)
        wanted = LegState.MISSING if other == "without a label" else LegState.WRONG_DISK
        wait_for(lambda: status_of(volume).legs[1].state is wanted, f"not {wanted}")
        use(volume.mount, 2)
        assert volume.twinfs("sync", volume.name, check=False).returncode == 1
        assert everything_on(disk.path) == before
        assert count_of(volume, "secondary_failed") == 1
        disk.take_out()
        disk.image = stranger.image
        disk.put_in()
        wait_for_state(volume, VolumeState.CLEAN)
        volume.assert_legs_equal()


def everything_on(root: Path) -> list[tuple[str, object]]:
    """Names, contents and times, `.twinfs` included."""
    found: list[tuple[str, object]] = []
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found.append((str(path), (status.st_mtime_ns, status.st_ctime_ns, status.st_mode, content)))
    return found


@pytest.mark.parametrize("fault", ["unmounted", "label gone"])
@alongside
def test_an_idle_volume_notices_that_its_disk_is_not_there(base: Path, fault: str) -> None:
    with Scene(base, "sync", "ext4") as scene:
        volume, disk = scene.volume, _disk(scene)
        label = scene.leg / ".twinfs/label.json"
        kept = label.read_bytes()
        if fault == "unmounted":
            disk.pull()
        else:
            label.unlink()
        wait_for_state(volume, VolumeState.DEGRADED)
        assert count_of(volume, "secondary_failed") == 1
        use(volume.mount, 1)
        if fault == "unmounted":
            assert os.listdir(scene.leg) == []
            disk.put_in()
        else:
            label.write_bytes(kept)
        wait_for_state(volume, VolumeState.CLEAN)
        volume.assert_legs_equal()


@alongside
def test_a_secondary_that_has_lost_its_blocks_does_not_stop_the_volume(base: Path) -> None:
    with Scene(base, "sync", "ext4") as scene:
        volume = scene.volume
        _disk(scene).make_unreadable()
        for turn in range(3):
            use(volume.mount, turn)
        (volume.mount / "docs/large").write_bytes(os.urandom(2 << 20))
        volume.tolerated.append("changes wait|secondary leg")
        volume.twinfs("umount", volume.name, check=False)
        assert (volume.primary / "docs/large").stat().st_size == 2 << 20


@alongside
def test_a_hang_is_answered_for_and_the_leg_comes_back(base: Path) -> None:
    with Scene(base, "sync", "faultfs") as scene:
        volume, layer = scene.volume, scene.layer
        assert layer is not None
        layer.freeze()
        use(volume.mount, 1)
        wait_for_state(volume, VolumeState.DEGRADED)
        assert count_of(volume, "secondary_failed") == 1
        use(volume.mount, 2)
        layer.thaw()
        wait_for_state(volume, VolumeState.CLEAN)
        volume.assert_legs_equal()


@pytest.mark.parametrize("errno", ["EIO", "ENOSPC"])
@alongside
def test_a_failed_fsync_on_the_secondary_is_no_caller_s_problem_and_the_file_is_copied_again(
    base: Path, errno: str
) -> None:
    """The disk said that it had written, then that it had not: it says so once, and has kept nothing."""
    with Scene(base, "sync", "faultfs") as scene:
        volume, layer = scene.volume, scene.layer
        assert layer is not None
        lie = layer.add(Rule(("write",), path="docs/file7", is_lying=True))
        failure = layer.fail("fsync", errno=errno, path="docs/file7", times=1)
        with open(scene.mount / "docs/file7", "r+b") as file:
            file.write(b"!" * 1000)
            file.flush()
            os.fsync(file.fileno())
        assert (lie.hits > 0, failure.hits) == (True, 1)
        assert status_of(volume).state is not VolumeState.CLEAN
        lie.remove()
        wait_for_state(volume, VolumeState.CLEAN)
        assert (layer.directory / "docs/file7").read_bytes()[:1000] == b"!" * 1000
        volume.assert_legs_equal()
        assert count_of(volume, "secondary_failed") == (1 if errno == "EIO" else 0)


@alongside
def test_a_disk_that_comes_back_and_keeps_nothing_is_found_out(base: Path) -> None:
    with Scene(base, "sync", "faultfs") as scene:
        assert scene.layer is not None
        scene.layer.fail(*EVERYTHING, errno="EIO")
        use(scene.mount, 1)
        wait_for_state(scene.volume, VolumeState.DEGRADED)
        scene.layer.clear()
        # Its label is kept, and everything else is answered with "written".
        lie = scene.layer.add(Rule(("write",), path="docs/*", is_lying=True))
        tmp = scene.layer.add(Rule(("write",), path=".twinfs/tmp/*", is_lying=True))
        wait_for(lambda: count_of(scene.volume, "verify_failed"), "nobody looked at what was copied", 30)
        assert count_of(scene.volume, "secondary_back") == 0
        assert status_of(scene.volume).state is not VolumeState.CLEAN
        lie.remove()
        tmp.remove()
        wait_for_state(scene.volume, VolumeState.CLEAN, 40)
        use(scene.mount, 2)
        scene.volume.sync()
        tree.assert_same(scene.first, scene.leg)
        assert count_of(scene.volume, "verify_failed") == 1
