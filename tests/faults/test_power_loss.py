"""The power goes while several programs write and fsync: what was fsynced is whole, and the legs end equal.

A cut is a copy of both legs' images as they are on their devices at a moment under load: what the kernel
had not written yet is not in it. The images lie on a file system that clones a file in one piece.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from crash.fsyncing import Promises, broken, promises
from crash.writers import start_writer
from faults.watching import count_of, wait_for_state
from support.disks import Disk
from support.machine import needs_root, run
from support.volume import Volume, wait_until
from twinfs.model import VolumeState

pytestmark = [needs_root, pytest.mark.deadline(300)]

_WRITERS = 3
_SIZE_BYTES = 640 << 20


@dataclass
class Cut:
    """One moment: clones of the legs' images, a copy of the state, and what was promised before."""

    directory: Path
    kept: list[Promises]


class Machine:
    """A volume whose legs' images can be cloned, under load."""

    def __init__(self, base: Path, mode: str, kind: str, seed: int) -> None:
        self.rng = random.Random(seed)
        self.seed = seed
        self.host = Disk(base / "host", "xfs", 8 << 30).put_in()
        self.disks = [Disk(self.host.path / name, kind, _SIZE_BYTES).put_in() for name in ("one", "two")]
        for disk in self.disks:
            if (disk.path / "lost+found").exists():
                (disk.path / "lost+found").rmdir()
        self.mode = mode
        self.logs = [base / f"log{number}" for number in range(_WRITERS)]
        self.volume = Volume(base / "pair", mode, legs=(self.disks[0].path, self.disks[1].path))

    def cut_under_load(self, cuts: int) -> list[Cut]:
        """Load a fresh volume and cut it at some moments; in the end everything is unmounted."""
        self.volume.init().mount_it()
        self.volume.sync()
        wait_for_state(self.volume, VolumeState.CLEAN)
        writers = [
            start_writer(self.volume.mount / f"writer{n}", log, f"{self.seed}/{n}", "crash.fsyncing")
            for n, log in enumerate(self.logs)
        ]
        try:
            for log in self.logs:
                wait_until(log.exists, 30, "a writer did not begin")
            found = []
            for number in range(cuts):
                time.sleep(self.rng.uniform(0.5, 3))
                found.append(self._cut(self.host.path / f"cut{number}"))
            assert all(writer.poll() is None for writer in writers), "a writer has ended by itself"
        finally:
            self._stop(writers)
        self.volume.assert_legs_equal()
        self.volume.umount()
        for disk in self.disks:
            disk.take_out()
        return found

    def _stop(self, writers: list[subprocess.Popen[str]]) -> None:
        for writer in writers:
            writer.kill()
        for writer in writers:
            writer.communicate(timeout=60)

    def _cut(self, directory: Path) -> Cut:
        directory.mkdir()
        kept = [promises(log) for log in self.logs]
        # The state's moment is another one: what of it was not fsynced may be older than the legs.
        shutil.copytree(self.volume.state, directory / "state", ignore=shutil.ignore_patterns("lock"))
        if self.rng.random() < 0.5:
            time.sleep(self.rng.uniform(0, 0.5))
        for disk in self.rng.sample(self.disks, 2):
            clone(disk.image, directory / disk.image.name)
        return Cut(directory, kept)

    def boot(self, cut: Cut, *, has_state: bool) -> None:
        """The disks as they are after the cut, in another boot of the machine."""
        for disk in self.disks:
            disk.image.unlink()
            clone(cut.directory / disk.image.name, disk.image)
            disk.put_in()
            label = disk.path / ".twinfs/label.json"
            label.write_text(json.dumps(json.loads(label.read_text()) | {"boot_id": "before the cut"}))
        shutil.rmtree(self.volume.state)
        if has_state:
            shutil.copytree(cut.directory / "state", self.volume.state)

    def check(self, cut: Cut) -> None:
        """Before twinfs has seen the disks, and after."""
        promising = self.disks if self.mode == "sync" else self.disks[:1]
        for disk in promising:
            assert self._broken(disk.path, cut) == [], f"{disk.path}, before twinfs started"
        self.volume.mount_it()
        assert count_of(self.volume, "compare_everything") >= 1
        self.volume.assert_legs_equal()
        assert self._broken(self.volume.mount, cut) == []
        assert self._broken(self.disks[1].path, cut) == []
        self.volume.umount()
        for disk in self.disks:
            disk.take_out()

    def _broken(self, root: Path, cut: Cut) -> list[str]:
        lines = []
        for number, kept in enumerate(cut.kept):
            lines += [f"writer{number}: {line}" for line in broken(root / f"writer{number}", kept)]
        return lines

    def take_away(self) -> None:
        try:
            self.volume.tear_down()
        finally:
            for disk in [*self.disks, self.host]:
                disk.take_out()


def clone(source: Path, target: Path) -> None:
    """In one piece, also while a loop device writes to it: XFS locks the file for that."""
    run("cp", "--reflink=always", source, target)


@pytest.fixture
def seed() -> int:
    found = int(os.environ.get("TWINFS_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"\nto do the same again: TWINFS_TEST_SEED={found}")
    return found


@pytest.fixture
def machine(workspace: Path, mode: str, kind: str, seed: int) -> Iterator[Machine]:
    made = Machine(workspace, mode, kind, seed)
    yield made
    made.take_away()


def lose_power(machine: Machine, cuts: int) -> None:
    promised = 0
    for cut in machine.cut_under_load(cuts):
        promised += sum(kept.total() for kept in cut.kept)
        for has_state in (True, False):
            machine.boot(cut, has_state=has_state)
            machine.check(cut)
    assert promised > 20 * cuts, "hardly any load"


@pytest.mark.parametrize(("mode", "kind"), [("sync", "ext4"), ("batched", "xfs"), ("sync", "btrfs")])
def test_what_was_fsynced_survives_a_power_cut_and_the_legs_end_equal(machine: Machine) -> None:
    lose_power(machine, cuts=1)


@pytest.mark.slow
@pytest.mark.deadline(3600)
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
@pytest.mark.parametrize("mode", ["sync", "batched"])
def test_what_was_fsynced_survives_many_power_cuts(machine: Machine) -> None:
    lose_power(machine, cuts=8)
