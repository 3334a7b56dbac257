"""SIGKILL of the daemon at random moments under load: nothing answered is lost, and the legs are equal."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from crash.replay import assert_holds_what_was_answered
from crash.writers import start_writer
from support.volume import Volume, wait_until

_WRITERS = 3


class Round:
    """Writers in directories of their own, killed once; then what they were promised is looked for."""

    def __init__(self, volume: Volume, number: int, seed: int) -> None:
        self.volume = volume
        self.rng = random.Random(f"{seed}/{number}")
        self.name = f"round{number}"
        self.base = volume.base / "crash" / self.name
        self.base.mkdir(parents=True)
        self.seeds = [f"{seed}/{number}/{writer}" for writer in range(_WRITERS)]

    def directory(self, writer: int) -> Path:
        return self.volume.mount / self.name / f"writer{writer}"

    def log(self, writer: int) -> Path:
        return self.base / f"log{writer}"

    def load_and_kill(self) -> None:
        writers = [start_writer(self.directory(n), self.log(n), seed) for n, seed in enumerate(self.seeds)]
        try:
            for n in range(_WRITERS):
                wait_until(lambda n=n: self.log(n).exists(), 30, "a writer did not begin")
            time.sleep(self.rng.uniform(0.05, 1.8))
            if self.rng.random() < 0.3:
                with self.volume.start_twinfs(
                    "sync", self.volume.name
                ) as sync:  # die in the middle of a batch
                    time.sleep(self.rng.uniform(0.15, 0.4))
                    self.volume.kill()
                    sync.communicate(timeout=60)
            else:
                self.volume.kill()
        finally:
            self.end(writers)

    def end(self, writers: list[subprocess.Popen[str]]) -> None:
        for writer in writers:
            try:
                out, err = writer.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                writer.kill()
                raise
            assert writer.returncode == 0, err
            assert out.startswith("ended by"), out

    def come_back(self) -> None:
        """Mount again; sometimes the daemon dies once more while it replays."""
        self.volume.remount()
        while self.rng.random() < 0.3:
            time.sleep(self.rng.uniform(0, 0.3))
            self.volume.kill()
            self.volume.remount()

    def check(self) -> int:
        answered = 0
        for n in range(_WRITERS):
            answered += assert_holds_what_was_answered(
                self.directory(n), self.log(n), self.base / f"replay{n}"
            )
        return answered


def run_rounds(volume: Volume, rounds: int) -> None:
    volume.init().configure('leg_timeout = "3m"', 'keep_versions = "30d"')
    volume.mount_it()
    seed = int(os.environ.get("TWINFS_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"\nto do the same again: TWINFS_TEST_SEED={seed}")
    answered = 0
    for number in range(rounds):
        each = Round(volume, number, seed)
        print(f"round {number}", flush=True)
        each.load_and_kill()
        each.come_back()
        answered += each.check()
        volume.assert_legs_equal()
        if number >= 2:
            shutil.rmtree(volume.mount / f"round{number - 2}")
            shutil.rmtree(volume.base / "crash" / f"round{number - 2}")
    print(f"{answered} operations were answered in {rounds} rounds")
    assert answered > 20 * rounds, "hardly any load"


def test_close_says_that_nobody_took_what_was_written(new_volume) -> None:
    volume = new_volume("batched").init().mount_it()
    (volume.mount / "before").write_bytes(b"")  # the kernel remembers what the first close was answered
    fd = os.open(volume.mount / "file", os.O_WRONLY | os.O_CREAT)
    os.write(fd, bytes(200_000))  # into the kernel's cache, in the same clock tick
    volume.kill()
    with pytest.raises(OSError, match=r"not connected|abort|Input/output"):
        os.close(fd)


@pytest.mark.parametrize("mode", ("sync", "batched"))
@pytest.mark.deadline(300)
def test_nothing_that_was_answered_is_lost_in_4_kills(new_volume, mode: str) -> None:
    run_rounds(new_volume(mode, interval="300ms"), rounds=4)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ("sync", "batched"))
@pytest.mark.deadline(3600)
def test_nothing_that_was_answered_is_lost_in_50_kills(new_volume, mode: str) -> None:
    run_rounds(new_volume(mode, interval="300ms"), rounds=50)
