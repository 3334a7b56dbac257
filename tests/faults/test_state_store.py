"""The state store fails while the volume is in use: changes are refused, no leg is blamed, nothing is lost.

What is found damaged at the start: tests/unit/mirror/test_state_damage.py, and here what people see of it.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.alongside import alongside
from faults.daily_use import use
from faults.scene import Scene
from faults.watching import count_of, events_of, status_of, wait_for, wait_for_state
from support import tree
from support.disks import Disk
from support.machine import needs_root, outcome, run
from twinfs.model import VolumeState
from twinfs.scrub.store import Store

pytestmark = [needs_root, pytest.mark.deadline(120)]


def changes(root: Path) -> set[str]:
    """What the volume says to one change of each kind."""
    return {
        outcome(call)[0]
        for call in (
            (root / "docs/new").touch,
            (root / "docs/newdir").mkdir,
            (root / "docs/file1").unlink,
            lambda: os.rename(root / "docs/file2", root / "docs/moved"),
            lambda: os.truncate(root / "docs/file3", 5),
            lambda: os.chmod(root / "docs/file4", 0o600),
        )
    }


@pytest.mark.parametrize("fault", ["full", "read-only"])
@pytest.mark.parametrize("mode", ["sync", "batched"])
@alongside
def test_a_state_store_that_refuses_refuses_changes_and_blames_no_leg(
    base: Path, mode: str, fault: str
) -> None:
    store: list[Disk] = []

    def on_a_disk(path: Path) -> None:
        store.append(Disk(path, "ext4").put_in())

    try:
        with Scene(base, mode, "dir", make_state=on_a_disk) as scene:
            volume, disk = scene.volume, store[0]
            before = tree.snapshot(scene.first)
            if fault == "full":
                ballast = disk.fill(0, disk.path / "ballast")
                with open(disk.path / "crumbs", "wb", buffering=0) as crumbs:
                    while outcome(crumbs.write, b"x" * 512)[0] == "ok":
                        os.fsync(crumbs.fileno())
                assert rename_until_refused(scene.mount) == "ENOSPC"
                before = tree.snapshot(scene.first)
            else:
                disk.make_read_only()
                assert changes(scene.mount) == {"EROFS"}
            time.sleep(5)  # the daemon looks every two seconds
            assert (scene.mount / "docs/file5").read_bytes().startswith(b"5 5")
            assert tree.differences(before, tree.snapshot(scene.first)) == []
            assert status_of(volume).state is not VolumeState.DEGRADED
            if fault == "full":
                ballast.unlink()
                (disk.path / "crumbs").unlink()
                wait_for(lambda: count_of(volume, "log_works"), "nobody was told that it works again")
                use(scene.mount, 1)
                volume.assert_legs_equal()
                assert count_of(volume, "secondary_failed", "primary_failed") == 0
            else:
                volume.tolerated.append("Read-only file system")
                done = volume.twinfs("umount", volume.name, check=False)
                assert "Traceback" not in done.stderr
                disk.take_out()
                disk.put_in()
                volume.mount_it()
                use(scene.mount, 1)
                volume.assert_legs_equal()
    finally:
        for each in store:
            each.take_out()


def rename_until_refused(root: Path) -> str:
    """Each rename is a record of its own; the last block has room for some."""
    for number in range(1000):
        names = (root / "docs/file8", root / "docs/elsewhere")
        answer, _ = outcome(os.rename, *(names if number % 2 == 0 else reversed(names)))
        if answer != "ok":
            return answer
    return "never refused"


def test_no_page_of_a_full_state_disk_kills_who_touches_it(workspace: Path) -> None:
    """A small ext4 has blocks of 1 KiB, and SQLite's shared memory pages of 4."""
    disk = Disk(workspace / "state", "ext4", more_words=("-m", "0")).put_in()
    try:
        path = disk.path / "volume/scrub.db"
        path.parent.mkdir()
        Store(path).close()
        for kib in range(0, 48, 3):
            spare = disk.path / "spare"
            ballast = disk.path / "ballast"
            fill(spare, kib)
            fill(ballast)
            spare.unlink()
            done = run(sys.executable, "-c", _WRITE_A_LITTLE, path, check=False)
            assert done.returncode == 0, (kib, done)
            ballast.unlink()
        assert list(path.parent.glob("*.damaged")) == [], "no room is no damage"
    finally:
        disk.take_out()


def fill(path: Path, kib: int = 1 << 20) -> None:
    """So much, or until there is no room."""
    with open(path, "wb", buffering=0) as file:
        for step in (64 << 10, 1 << 10):
            while file.tell() + step <= kib << 10 and outcome(file.write, bytes(step))[0] == "ok":
                pass
            os.fsync(file.fileno())


_WRITE_A_LITTLE = """
import contextlib, sqlite3, sys
from pathlib import Path
from twinfs.errors import StateError
from twinfs.scrub.store import Store
with contextlib.suppress(StateError, sqlite3.Error):
    store = Store(Path(sys.argv[1]))
    for number in range(20):
        with store.transaction() as db:
            db.execute("INSERT INTO suspect (path) VALUES (?)", (b"%d" % number * 400,))
"""


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": lambda log: log.unlink(),
    "all of it deleted": lambda log: shutil.rmtree(log.parent),
    "cut in the middle": lambda log: os.truncate(log, log.stat().st_size // 2),
    "random": lambda log: log.write_bytes(random.Random(7).randbytes(log.stat().st_size)),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
@alongside
def test_a_state_store_found_damaged_is_told_of_and_answered_by_comparing(base: Path, damage: str) -> None:
    with Scene(base, "batched", "dir") as scene:
        volume = scene.volume
        volume.twinfs("mode", volume.name, "batched", "--interval", "1h")
        use(scene.mount, 1)
        volume.kill()
        DAMAGES[damage](volume.state / "intent.log")
        before = tree.snapshot(scene.first)
        volume.mount_it()
        [event] = events_of(volume, "compare_everything")[-1:]
        assert "missing or damaged" in event.message
        wait_for_state(volume, VolumeState.CLEAN)
        volume.assert_legs_equal()
        assert tree.differences(before, tree.snapshot(scene.first)) == []
