"""Taking a leg out and putting it back, a new disk, roles that change, and the end of a split brain."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from faults.alongside import alongside
from faults.daily_use import use
from faults.scene import Scene
from faults.watching import count_of, status_of, wait_for, wait_for_state
from support import tree
from support.faultfs import EVERYTHING
from support.machine import needs_root
from support.volume import Volume, wait_until
from twinfs.model import LegState, Role, VolumeState

pytestmark = [needs_root, pytest.mark.deadline(240)]

both_modes = pytest.mark.parametrize("mode", ("sync", "batched"))
mounted_or_not = pytest.mark.parametrize("is_mounted", (True, False), ids=("mounted", "unmounted"))


def do(volume: Volume, *words: str | Path, code: int = 0) -> str:
    done = volume.twinfs(*words, check=False)
    assert done.returncode == code, f"{words}: {done}"
    return done.stdout + done.stderr


def label(leg: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((leg / ".twinfs/label.json").read_text())
    return found


def paths_by_role(volume: Volume) -> list[str]:
    return [leg["path"] for leg in volume.status()["legs"]]


def end_equal(scene: Scene, primary: Path, secondary: Path, turn: int = 8) -> None:
    """In use, with these roles, everything on both legs."""
    if scene.volume.pid is None:
        scene.volume.mount_it()
    use(scene.mount, turn)
    scene.volume.sync()
    tree.assert_same(primary, secondary)
    assert paths_by_role(scene.volume) == [str(primary), str(secondary)]
    wait_for_state(scene.volume, VolumeState.CLEAN)


@both_modes
@alongside
def test_a_detached_disk_can_be_unplugged_and_gets_only_what_changed(base: Path, mode: str) -> None:
    with Scene(base, mode, "ext4") as scene:
        volume, disk = scene.volume, scene.disk
        assert disk is not None
        do(volume, "detach", volume.name, "secondary")
        tree.assert_same(scene.first, scene.leg)
        assert label(scene.leg)["boot_id"] == "", "the label says in use"
        status = status_of(volume)
        assert (status.state, status.legs[1].state) == (VolumeState.DEGRADED, LegState.MISSING)
        assert status.action is not None and "twinfs attach" in status.action
        unmounted = subprocess.run(["umount", scene.leg], check=False)
        assert unmounted.returncode == 0, "the disk is still in use"
        disk.take_out()
        use(scene.mount, 1)
        assert os.listdir(scene.leg) == [], "written to the directory beneath the disk"
        volume.umount()
        volume.mount_it()  # without --degraded: it was taken away on purpose
        assert "mount the disk" in do(volume, "attach", volume.name, code=1)
        disk.put_in()
        untouched = (scene.leg / "photos/2024/large").stat()
        assert "file1" in do(volume, "attach", volume.name, "--dry-run")
        do(volume, "attach", volume.name)
        assert os.path.samestat((scene.leg / "photos/2024/large").stat(), untouched)
        assert count_of(volume, "compare_everything") == 0
        end_equal(scene, scene.first, scene.leg)


@alongside
def test_a_detached_disk_that_is_still_there_is_left_alone(base: Path) -> None:
    with Scene(base, "sync", "dir") as scene:
        volume = scene.volume
        do(volume, "detach", volume.name)
        before = tree.snapshot(scene.leg)
        use(scene.mount, 1)
        volume.umount()
        volume.mount_it()
        use(scene.mount, 2)
        assert tree.snapshot(scene.leg) == before
        assert "twinfs attach" in do(volume, "detach", volume.name, code=2)
        assert "twinfs attach" in do(volume, "sync", volume.name, code=1)
        volume.umount()
        assert volume.status()["state"] == "degraded"
        do(volume, "attach", volume.name)
        tree.assert_same(scene.first, scene.leg)
        assert "no leg is detached" in do(volume, "attach", volume.name, code=2)
        end_equal(scene, scene.first, scene.leg)


@alongside
def test_a_disk_that_fails_is_not_attached_and_stays_detached(base: Path) -> None:
    with Scene(base, "sync", "faultfs") as scene:
        volume, layer = scene.volume, scene.layer
        assert layer is not None
        do(volume, "detach", volume.name)
        use(scene.mount, 1)
        layer.fail(*EVERYTHING, errno="EIO")
        said = do(volume, "attach", volume.name, code=1)
        assert "faulty; look after its disk" in said
        assert "twinfs attach" in str(status_of(volume).action)
        layer.clear()
        do(volume, "attach", volume.name)
        end_equal(scene, scene.first, scene.leg)


@alongside
def test_the_disk_from_before_a_replacement_is_taken_back_as_the_refusal_says(base: Path) -> None:
    with Scene(base, "sync", "dir") as scene:
        volume, new = scene.volume, base / "new"
        new.mkdir()
        do(volume, "replace", volume.name, "secondary", new, "--force")
        use(scene.mount, 1)
        again = ("replace", volume.name, "secondary", scene.leg, "--adopt", "--force")
        assert f"move {scene.leg}/.twinfs away" in do(volume, *again, code=1)
        (scene.leg / ".twinfs").rename(base / "aside")
        do(volume, *again)
        end_equal(scene, scene.first, scene.leg)


@both_modes
@mounted_or_not
@alongside
def test_the_legs_change_their_roles_and_nothing_is_lost(base: Path, mode: str, is_mounted: bool) -> None:
    with Scene(base, mode, "dir") as scene:
        volume = scene.volume
        use(scene.mount, 1)
        if not is_mounted:
            volume.umount()
        assert "nothing was changed" in do(volume, "promote", volume.name, "--dry-run")
        do(volume, "promote", volume.name, "secondary")
        assert (label(scene.leg)["role"], label(scene.first)["role"]) == ("primary", "secondary")
        assert "is the primary already" in do(volume, "promote", volume.name, str(scene.leg), code=2)
        end_equal(scene, scene.leg, scene.first)
        do(volume, "promote", volume.name)
        end_equal(scene, scene.first, scene.leg, turn=9)


@both_modes
@alongside
def test_roles_change_under_people_who_work(base: Path, mode: str) -> None:
    with Scene(base, mode, "dir") as scene:
        volume, mount = scene.volume, scene.mount
        script = "import sys, os\nfor n in range(10**9):\n" + (
            "  p = f'{sys.argv[1]}/docs/w{n % 40}'\n"
            "  with open(p + '.new', 'w') as f: f.write(f'{n}' * 100); f.flush(); os.fsync(f.fileno())\n"
            "  os.rename(p + '.new', p)\n"
            "  assert open(p).read() == f'{n}' * 100\n"
        )
        writer = subprocess.Popen(["python3", "-c", script, str(mount)], stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: (mount / "docs/w5").exists(), 30, "the writer does nothing")
            with open(mount / "docs/file7", "r+b") as held:
                for _ in range(3):
                    do(volume, "promote", volume.name)
                held.write(b"held open through all of it")
            assert writer.poll() is None, writer.communicate()
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
        assert (mount / "docs/file7").read_bytes().startswith(b"held open through all of it")
        end_equal(scene, scene.leg, scene.first)


@both_modes
@pytest.mark.parametrize("role", ("primary", "secondary"))
@alongside
def test_a_leg_gets_a_new_disk_while_the_volume_is_in_use(base: Path, mode: str, role: str) -> None:
    with Scene(base, mode, "dir") as scene:
        volume = scene.volume
        new = base / "new"
        new.mkdir()
        assert "to copy" in do(volume, "replace", volume.name, role, new, "--force", "--dry-run")
        assert os.listdir(new) == []
        said = do(volume, "replace", volume.name, role, new, "--force")
        assert "both legs are equal" in said
        staying = scene.leg if role == "primary" else scene.first
        assert str(new) in volume.config_file.read_text()
        end_equal(scene, staying, new)
        volume.umount()
        end_equal(scene, staying, new, turn=9)


@alongside
def test_a_replacement_that_is_killed_goes_on_with_the_next_sync(base: Path) -> None:
    with Scene(base, "sync", "dir") as scene:
        volume = scene.volume
        for number in range(300):
            (scene.mount / f"docs/big{number}").write_bytes(os.urandom(100_000))
        new = base / "new"
        new.mkdir()
        replacing = volume.start_twinfs("replace", volume.name, "secondary", new, "--force")
        wait_until(lambda: list(new.glob("docs/big*")), 60, "nothing is copied")
        volume.kill()
        replacing.communicate()
        volume.abandon()
        volume.mount_it()
        volume.sync()
        end_equal(scene, scene.first, new)
        assert "both legs are equal" in do(volume, "rebuild", volume.name)


@alongside
def test_what_cannot_be_a_new_disk_is_refused(base: Path) -> None:
    with Scene(base, "sync", "dir") as scene:
        volume = scene.volume
        full, other = base / "full", base / "other"
        assert "on one file system: when that fails" in volume.twinfs("doctor", check=False).stdout
        full.mkdir()
        (full / "precious").write_text("somebody's")
        other.mkdir()
        before = [tree.snapshot(leg) for leg in (scene.first, scene.leg)]
        for leg, path, words in (
            ("secondary", full, "not empty"),
            ("secondary", scene.leg, "already the secondary leg"),
            ("secondary", base / "missing", "No such file"),
            ("third", other, "no leg of volume"),
            ("secondary", scene.mount / "docs", "inside the volume"),
            ("secondary", other, "on one file system: both copies would go with it"),
            ("primary", other, "on one file system: both copies would go with it"),
        ):
            said = volume.twinfs("replace", volume.name, leg, path, check=False)
            assert said.returncode in (1, 2)
            assert words in said.stderr
        assert [tree.snapshot(leg) for leg in (scene.first, scene.leg)] == before
        assert (full / "precious").read_text() == "somebody's"
        end_equal(scene, scene.first, scene.leg)


@both_modes
@alongside
def test_rebuild_finds_what_no_time_and_size_tells(base: Path, mode: str) -> None:
    with Scene(base, mode, "dir") as scene:
        victim = scene.leg / "photos/2024/large"
        info = victim.stat()
        with open(victim, "r+b") as file:
            file.seek(700_000)
            file.write(b"\xff rotten \x00")
        os.utime(victim, ns=(info.st_atime_ns, info.st_mtime_ns))
        assert "1 file differed, copied anew" in do(scene.volume, "rebuild", scene.volume.name)
        end_equal(scene, scene.first, scene.leg)
        assert victim.stat().st_mtime_ns == info.st_mtime_ns


def _use_each_alone(scene: Scene) -> None:
    """Until each leg has something that the other has not."""
    volume = scene.volume
    volume.tolerated.append("is missing; . changes? pending")
    volume.umount()
    hidden = scene.base / "hidden"
    for alone, away in ((scene.first, scene.leg), (scene.leg, scene.first)):
        away.rename(hidden)
        away.mkdir()
        volume.mount_it("--degraded")
        (scene.mount / f"docs/only-{alone.name}").write_text(alone.name)
        (scene.mount / "docs/file1").write_text(f"changed on {alone.name}")
        (scene.mount / "docs/file11").unlink()
        volume.twinfs("umount", volume.name, check=False)
        volume.wait_until_dead()
        away.rmdir()
        hidden.rename(away)


@both_modes
@pytest.mark.parametrize("prefer", ("primary", "secondary"))
@alongside
def test_a_split_brain_is_refused_shown_and_settled(base: Path, mode: str, prefer: str) -> None:
    with Scene(base, mode, "dir") as scene:
        volume = scene.volume
        _use_each_alone(scene)
        before = [tree.snapshot(leg) for leg in (scene.first, scene.leg)]
        said = do(volume, "mount", volume.name, volume.mount, code=1)
        assert "each leg was changed without the other" in said
        assert said.count("events 2") == 2 and "--prefer" in said
        for role, leg in (("primary", scene.first), ("secondary", scene.leg)):
            [line] = [line for line in said.splitlines() if line.strip().startswith(f"{role} leg {leg}")]
            assert f"the {role} when both were last together, 20" in line and "events 1;" in line
            assert "used alone since then, as the primary: last used 20" in line
        status = volume.status()
        assert status["state"] == "failed"
        assert [(leg["role"], leg["state"]) for leg in status["legs"]] == [
            ("primary", "stale"),
            ("secondary", "stale"),
        ]
        said = do(volume, "resync", volume.name, "--prefer", prefer, "--dry-run")
        assert "differs: docs/file1" in said and "only-first" in said and "only-second" in said
        assert [tree.snapshot(leg) for leg in (scene.first, scene.leg)] == before
        do(volume, "resync", volume.name, "--prefer", prefer)
        winner, loser = (scene.first, scene.leg) if prefer == "primary" else (scene.leg, scene.first)
        assert (winner / "docs/file1").read_text() == f"changed on {winner.name}"
        kept = {
            path.name: path.read_text()
            for path in (loser / ".twinfs/quarantine").rglob("*")
            if path.is_file() and path.name in ("file1", f"only-{loser.name}")
        }
        assert kept == {"file1": f"changed on {loser.name}", f"only-{loser.name}": loser.name}
        end_equal(scene, winner, loser)


@pytest.mark.parametrize("role", Role)
@alongside
def test_a_disk_that_does_not_even_give_its_label_is_one_that_is_not_there(base: Path, role: Role) -> None:
    with Scene(base, "sync", "ext4", first="ext4") as scene:
        volume, is_primary = scene.volume, role is Role.PRIMARY
        disk = scene.first_disk if is_primary else scene.disk
        assert disk is not None
        volume.tolerated.append("the disk fails")
        volume.umount()
        disk.shut_down()
        said = do(volume, "mount", volume.name, volume.mount, code=1)
        assert f"{disk.path}: the disk fails: Input/output error" in said and "--degraded" in said
        status = volume.status()
        assert {leg["path"]: leg["state"] for leg in status["legs"]}[str(disk.path)] == "faulty"
        assert "the disk fails" in status["action"]
        assert "the disk fails" in volume.twinfs("doctor", check=False).stdout
        volume.mount_it("--degraded")
        use(scene.mount, 1)
        disk.take_out()
        disk.put_in()
        wait_for_state(volume, VolumeState.CLEAN, 40)
        first, second = (scene.leg, scene.first) if is_primary else (scene.first, scene.leg)
        end_equal(scene, first, second)


@alongside
def test_a_leg_that_goes_on_alone_says_that_the_other_may_have(base: Path) -> None:
    with Scene(base, "sync", "dir") as scene:
        volume, hidden = scene.volume, scene.base / "hidden"
        volume.tolerated.append("is missing; . changes? pending")
        volume.umount()
        said: list[str] = []
        # The primary alone, once more, and then the other one, which is the older by then.
        for alone, away in ((scene.first, scene.leg), (scene.first, scene.leg), (scene.leg, scene.first)):
            away.rename(hidden)
            away.mkdir()
            said.append(do(volume, "mount", volume.name, volume.mount, "--degraded"))
            volume.pid = volume.status()["pid"]
            (scene.mount / f"docs/only-{alone.name}").write_text(alone.name)
            volume.twinfs("umount", volume.name, check=False)
            volume.wait_until_dead()
            away.rmdir()
            hidden.rename(away)
        assert f"{scene.first} goes on without {scene.leg}: it was last in use with it 20" in said[0]
        assert "event counter 1." in said[0] and "this copy is the older one" not in said[0]
        assert "goes on without" not in said[1], "it is known by then"
        assert f"{scene.leg} goes on without {scene.first}" in said[2]
        assert "this copy is the older one" in said[2] and "refused as a split brain" in said[2]
        assert count_of(volume, "split_possible") == 2
        assert "refusing to choose" in do(volume, "mount", volume.name, volume.mount, code=1)
        do(volume, "resync", volume.name, "--prefer", "primary")
        end_equal(scene, scene.first, scene.leg)


@alongside
def test_a_leg_that_was_used_alone_is_not_taken_back_while_the_other_is_in_use(base: Path) -> None:
    with Scene(base, "sync", "dir") as scene:
        volume = scene.volume
        _use_each_alone(scene)
        hidden = base / "hidden"
        scene.leg.rename(hidden)
        scene.leg.mkdir()
        volume.mount_it("--degraded")
        scene.leg.rmdir()
        hidden.rename(scene.leg)
        before = tree.snapshot(scene.leg)
        wait_for(lambda: status_of(volume).legs[1].state is LegState.WRONG_DISK, "it was not looked at", 20)
        assert "refusing to choose" in (status_of(volume).action or "")
        assert tree.snapshot(scene.leg) == before
        said = do(volume, "resync", volume.name, "--prefer", "secondary", code=2)
        assert "unmount it first" in said
        do(volume, "resync", volume.name, "--prefer", "primary")
        assert (scene.first / "docs/file1").read_text() == "changed on first"
        end_equal(scene, scene.first, scene.leg)


@alongside
def test_an_incomplete_leg_goes_on_alone_only_by_force(base: Path) -> None:
    with Scene(base, "sync", "dir") as scene:
        volume = scene.volume
        volume.umount()
        shutil.rmtree(volume.state)  # which knew that the secondary has everything
        hidden = base / "hidden"
        scene.first.rename(hidden)
        scene.first.mkdir()
        assert "--force" in do(volume, "mount", volume.name, volume.mount, "--degraded", code=1)
        assert label(scene.leg).get("role") != "primary"
        do(volume, "promote", volume.name, "secondary", "--force")
        volume.mount_it("--degraded")
        use(scene.mount, 1)
        assert status_of(volume).legs[0].role is Role.PRIMARY
        scene.first.rmdir()
        hidden.rename(scene.first)
        wait_for_state(volume, VolumeState.CLEAN, 30)
        end_equal(scene, scene.leg, scene.first)
