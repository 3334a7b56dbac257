"""Everything at once: random work of several processes, troubles of the secondary, kills of the daemon.

What was answered is done again on a plain directory: that is the model. A failure prints the seed;
TWINFS_TEST_SEED gives it again, TWINFS_SOAK_SECONDS says how long.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from crash.replay import assert_holds_what_was_answered
from crash.writers import start_writer
from faults.troubles import Secondary, random_trouble
from faults.watching import wait_for_state
from support.disks import KINDS
from support.machine import needs_root
from support.volume import Volume, wait_until
from twinfs.model import VolumeState

pytestmark = needs_root

_WRITERS = 3
_KEPT_ROUNDS = 3


class Soak:
    """Rounds on one volume. In each the writers have directories of their own, which are then checked."""

    def __init__(self, base: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.seed = seed
        self.base = base
        self.begun = time.monotonic()
        self.leg = Secondary(base, self.rng.choice(KINDS))
        mode = self.rng.choice(("sync", "batched"))
        self.volume = Volume(
            base / "pair", mode, legs=(base / "first", self.leg.layer.path), interval="500ms"
        )
        # At the end of a mount the secondary may be in trouble, and the daemon says so.
        self.volume.tolerated.append(r"secondary leg: ")
        self.kept: list[str] = []
        self.answered = 0
        self.say(f"{mode}, {self.leg.disk.kind}")

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.begun:7.1f} s  {text}", flush=True)

    def run(self, seconds: float) -> None:
        self.volume.init().configure('leg_timeout = "2s"', 'max_delete = "100%"')
        self.volume.mount_it()
        number = 0
        while time.monotonic() - self.begun < seconds:
            self.round(f"round{number}")
            number += 1
        self.end(max(180, 2 * seconds))

    # One round

    def round(self, name: str) -> None:
        self.say(name)
        seeds = [f"{self.seed}/{name}/{writer}" for writer in range(_WRITERS)]
        writers = [start_writer(self._place(name, n), self._log(name, n), s) for n, s in enumerate(seeds)]
        try:
            for n in range(_WRITERS):
                wait_until(self._log(name, n).exists, 30, "a writer did not begin")
            for _ in range(self.rng.randrange(1, 4)):
                self.trouble()
            self.change_something()
            if self.rng.random() < 0.6:
                self.kill_and_come_back()
        finally:
            self.stop(writers)
        self.check(name)

    def _place(self, name: str, writer: int) -> Path:
        return self.volume.mount / name / f"writer{writer}"

    def _log(self, name: str, writer: int) -> Path:
        self.base.joinpath("logs").mkdir(exist_ok=True)
        return self.base / f"logs/{name}-{writer}"

    def trouble(self, *, is_ending: bool = True) -> ExitStack:
        """Make trouble for a while; what comes next has some time without, or begins at once."""
        name, make = random_trouble(self.leg, self.rng)
        self.say(name)
        stack = ExitStack()
        stack.enter_context(make())  # type: ignore[arg-type]  # each makes a context manager
        time.sleep(self.rng.uniform(0.1, 4))
        if is_ending:
            stack.close()
            time.sleep(self.rng.choice((0, 0, 0.5, 2, 11)))
        return stack

    def change_something(self) -> None:
        """A command in the middle of it. How long it takes under this load is not what is tested."""
        mode = self.rng.choice(("sync", "batched"))
        words = self.rng.choice((("mode", self.volume.name, mode), ("sync", self.volume.name), ()))
        if words:
            self.say(" ".join(words))
            try:
                self.volume.twinfs(*words, check=False, timeout=20)
            except subprocess.TimeoutExpired:
                self.say("not waited for")

    def kill_and_come_back(self) -> None:
        """In the middle of some trouble, or of none; the daemon may die again while it recovers."""
        for _ in range(self.rng.randrange(1, 3)):
            trouble = self.trouble(is_ending=False) if self.rng.random() < 0.5 else ExitStack()
            self.say("kill -9")
            assert self.volume.pid is not None
            os.kill(self.volume.pid, signal.SIGKILL)
            if self.leg.is_there:
                self.leg.clear()  # a process that waits for a disk that hangs cannot end
            self.volume.wait_until_dead(60)
            if self.leg.is_there:
                trouble.close()
                self.volume.mount_it()
            else:
                self.volume.mount_it("--degraded")
                trouble.close()

    def stop(self, writers: list[subprocess.Popen[str]]) -> None:
        for writer in writers:
            writer.terminate()
        for writer in writers:
            out, err = writer.communicate(timeout=60)
            assert out.startswith("ended by"), err

    # What must be so

    def check(self, name: str) -> None:
        for n in range(_WRITERS):
            scratch = self.base / "replay" / f"{name}-{n}"
            self.answered += assert_holds_what_was_answered(self._place(name, n), self._log(name, n), scratch)
            shutil.rmtree(scratch)
        self.kept.append(name)
        if len(self.kept) > _KEPT_ROUNDS:
            shutil.rmtree(self.volume.mount / self.kept.pop(0))

    def end(self, patience_seconds: float) -> None:
        """Nothing is wrong any more: clean by itself, both legs equal, and equal to the model."""
        self.say("the end")
        self.leg.clear()
        wait_for_state(self.volume, VolumeState.CLEAN, patience_seconds)
        self.volume.assert_legs_equal()
        for leg in (self.volume.primary, self.volume.secondary):
            for name in self.kept:
                for n in range(_WRITERS):
                    scratch = self.base / "replay" / f"{leg.name}-{name}-{n}"
                    assert_holds_what_was_answered(leg / name / f"writer{n}", self._log(name, n), scratch)
        self.volume.umount()
        self.volume.assert_rsync_finds_nothing()
        self.say(f"{self.answered} operations were answered")
        assert self.answered > 100, "hardly any load"


def soak(base: Path, seconds: float) -> None:
    seed = int(os.environ.get("TWINFS_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"\nto do the same again: TWINFS_TEST_SEED={seed}", flush=True)
    each = Soak(base, seed)
    try:
        each.run(seconds)
    except BaseException:
        each.say("it failed; the daemon's last words:")
        print("\n".join((each.volume.state / "daemon.log").read_text().splitlines()[-60:]))
        raise
    finally:
        if each.leg.is_there:
            each.leg.clear()
        try:
            each.volume.tear_down()
        finally:
            each.leg.take_out()


@pytest.mark.deadline(400)
def test_a_minute_of_everything_ends_with_equal_legs(workspace: Path) -> None:
    soak(workspace, float(os.environ.get("TWINFS_SOAK_SECONDS", "50")))


@pytest.mark.slow
@pytest.mark.deadline(3 * 3600)
def test_an_hour_of_everything_ends_with_equal_legs(workspace: Path) -> None:
    begun = time.monotonic()
    number = 0
    while time.monotonic() - begun < float(os.environ.get("TWINFS_SOAK_SECONDS", "3600")):
        # Another file system and another mode each time.
        soak(workspace / str(number), 300)
        number += 1
