"""The secondary stops answering, without an error: the volume goes on, and nobody hangs with it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.alongside import alongside
from faults.daily_use import use
from faults.scene import Scene
from faults.watching import count_of, events_of, status_of, wait_for, wait_for_state
from support import tree
from support.faultfs import DURABLE, EVERYTHING, Rule
from support.machine import needs_root
from twinfs.model import VolumeState

pytestmark = [needs_root, pytest.mark.deadline(240)]

_TIMEOUT_SECONDS = 2.0
_PATIENCE_SECONDS = 20.0
"""How long a caller may wait, on a busy machine, of whom one call met the hanging leg."""


@dataclass(frozen=True)
class Row:
    """What hangs, and how it is let go."""

    name: str
    mode: str
    kind: str
    hang: Callable[[Scene], object]
    release: Callable[[Scene], object]


def _hang(*operations: str) -> Callable[[Scene], object]:
    return lambda scene: scene.layer and scene.layer.hang(*operations)


def _clear(scene: Scene) -> object:
    return scene.layer and scene.layer.clear()


ROWS = (
    Row("everything", "sync", "faultfs", _hang(*EVERYTHING), _clear),
    Row("everything-batched", "batched", "faultfs", _hang(*EVERYTHING), _clear),
    Row("writes", "sync", "faultfs", _hang("write"), _clear),
    Row("fsync", "sync", "faultfs", _hang(*DURABLE), _clear),
    Row(
        "stopped-server",
        "sync",
        "faultfs",
        lambda scene: scene.layer and scene.layer.freeze(),
        lambda scene: scene.layer and scene.layer.thaw(),
    ),
    Row(
        "frozen-ext4",
        "sync",
        "ext4",
        lambda scene: scene.disk and scene.disk.freeze(),
        lambda scene: scene.disk and scene.disk.thaw(),
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@alongside
def test_the_volume_does_not_hang_with_its_secondary(base: Path, row: Row) -> None:
    with Scene(base, row.mode, row.kind, leg_timeout=f"{_TIMEOUT_SECONDS:g}s") as scene:
        volume, mount = scene.volume, scene.mount
        row.hang(scene)
        try:
            looks = _Looks(mount)
            begun = time.monotonic()
            use(mount, 1)
            with open(mount / "docs/file9", "r+b") as file:
                file.write(b"synced while it hangs")
                file.flush()
                os.fsync(file.fileno())
            waited = time.monotonic() - begun
            wait_for_state(volume, VolumeState.DEGRADED, _PATIENCE_SECONDS)
            use(mount, 2)
            assert waited < _PATIENCE_SECONDS, "the callers waited for the leg"
            assert looks.longest() < _PATIENCE_SECONDS / 4, "others were not answered meanwhile"
            assert count_of(volume, "secondary_failed") == 1
            assert "did not answer" in events_of(volume, "secondary_failed")[0].message
        finally:
            row.release(scene)
        wait_for_state(volume, VolumeState.CLEAN, 40)
        use(mount, 3)
        volume.sync()
        tree.assert_same(scene.first, scene.leg)


class _Looks:
    """Somebody who only reads, all the time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._longest = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        number = 0
        while not self._ended.is_set():
            begun = time.monotonic()
            os.path.lexists(self._root / f"docs/not there {number}")
            (self._root / "docs/file8").read_bytes()
            self._longest = max(self._longest, time.monotonic() - begun)
            number += 1
            time.sleep(0.01)

    def longest(self) -> float:
        self._ended.set()
        self._thread.join(60)
        return self._longest


@alongside
def test_a_slow_secondary_is_not_taken_for_one_that_hangs(base: Path) -> None:
    with Scene(base, "sync", "faultfs", leg_timeout="25s") as scene:
        assert scene.layer is not None
        rule = scene.layer.add(Rule(("fsync", "fsyncdir"), delay_seconds=6.0))
        begun = time.monotonic()
        (scene.mount / "docs/slow").write_bytes(b"slow")
        fd = os.open(scene.mount / "docs/slow", os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
        assert time.monotonic() - begun > 6.0
        rule.remove()
        assert count_of(scene.volume, "secondary_failed") == 0
        assert (scene.leg / "docs/slow").read_bytes() == b"slow"


@pytest.mark.parametrize("leg_timeout", ("1s", "8s"), ids=("noticed", "not noticed yet"))
@alongside
def test_the_volume_can_be_unmounted_while_its_secondary_hangs(base: Path, leg_timeout: str) -> None:
    with Scene(base, "batched", "faultfs", leg_timeout=leg_timeout) as scene:
        volume = scene.volume
        assert scene.layer is not None
        scene.layer.freeze()
        volume.tolerated.append("changes wait|secondary leg")
        use(scene.mount, 1)
        done = volume.twinfs("umount", volume.name, check=False, timeout=60)
        assert done.returncode == 1
        assert "changes pending" in done.stderr
        scene.layer.thaw()
        volume.wait_until_dead()
        volume.mount_it()
        volume.sync()
        tree.assert_same(scene.first, scene.leg)


@alongside
def test_an_idle_volume_notices_a_disk_that_was_unmounted(base: Path) -> None:
    with Scene(base, "sync", "ext4") as scene:
        assert scene.disk is not None
        scene.disk.take_out()  # lazily, because it is in use
        status = wait_for_state(scene.volume, VolumeState.DEGRADED, 30)
        assert "not mounted" in events_of(scene.volume, "secondary_failed")[0].message
        assert status.action
        wait_for(lambda: os.listdir(scene.leg) == [], "something is still mounted there")
        use(scene.mount, 1)
        assert os.listdir(scene.leg) == []
        scene.disk.put_in()
        wait_for_state(scene.volume, VolumeState.CLEAN, 40)
        tree.assert_same(scene.first, scene.leg)
        assert status_of(scene.volume).pending.changes == 0


@alongside
def test_a_label_that_is_gone_stops_the_mirroring(base: Path) -> None:
    with Scene(base, "sync", "dir") as scene:
        label = scene.leg / ".twinfs/label.json"
        kept = label.read_bytes()
        label.unlink()
        wait_for_state(scene.volume, VolumeState.DEGRADED, 30)
        before = tree.snapshot(scene.leg)
        use(scene.mount, 1)
        assert tree.snapshot(scene.leg) == before
        label.write_bytes(kept)
        wait_for_state(scene.volume, VolumeState.CLEAN, 40)
        tree.assert_same(scene.first, scene.leg)
