"""Scrubbing and repairing what programs have open, and what they write meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from support.faults import flip, make_tree
from support.scrubbing import (
    judged,
    scrub,
    scrubbed_volume,
)
from support.volume import Volume, wait_until


def test_a_repaired_primary_is_seen_through_the_mount(new_volume):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=True)
    expected = (volume.mount / "docs/small-00").read_bytes()
    volume.umount()
    flip(volume.primary / "docs/small-00", 5)
    os.chmod(volume.primary / "docs/small-01", 0o600)
    volume.mount_it()
    assert (volume.mount / "docs/small-00").read_bytes() != expected  # and in the kernel's cache
    assert (volume.mount / "docs/small-01").stat().st_mode & 0o777 == 0o600
    scrub(volume, "--repair", expect=1)
    assert (volume.mount / "docs/small-00").read_bytes() == expected
    assert (volume.mount / "docs/small-01").stat().st_mode & 0o777 == 0o644
    (volume.mount / "docs/small-00").write_bytes(b"written after the repair")
    volume.assert_legs_equal()


def test_an_open_file_is_not_replaced_under_the_program_that_uses_it(new_volume):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=True)
    flip(volume.primary / "docs/small-00", 5)
    with open(volume.mount / "docs/small-00", "r+b") as file:
        found, _ = scrub(volume, "--repair", expect=4)
        assert "a program has it open" in found[0]["detail"]
        file.seek(0, os.SEEK_END)
        file.write(b"more")
    volume.assert_legs_equal()


def test_a_secondary_file_that_is_open_for_writing_is_repaired_and_goes_on_being_written(new_volume):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=True)
    with open(volume.mount / "docs/small-00", "r+b", buffering=0) as file:
        file.write(b"S")
        os.fsync(file.fileno())
        wait_until(lambda: not volume.pending()["changes"], 30, "it is not taken as equal")
        scrub(volume, expect=0)
        flip(volume.secondary / "docs/small-00", 5)
        found, _ = scrub(volume, "--repair", expect=1)
        assert judged(found) == {"docs/small-00": ("content", "secondary")}
        file.write(b"M")
        os.fsync(file.fileno())
    volume.assert_legs_equal()
    assert (volume.secondary / "docs/small-00").read_bytes().startswith(b"SMall")


WRITER = """
import os, sys, random, time
root, seconds = sys.argv[1], float(sys.argv[2])
random.seed(int(sys.argv[3])); end = time.monotonic() + seconds
number = 0
while time.monotonic() < end:
    number += 1
    name = f"{root}/w{random.randrange(40)}"
    match random.randrange(6):
        case 0:
            with open(name, "wb") as file: file.write(os.urandom(random.randrange(200_000)))
        case 1:
            with open(name, "ab") as file: file.write(b"x" * random.randrange(5000))
        case 2:
            try: os.rename(name, f"{root}/w{random.randrange(40)}")
            except OSError: pass
        case 3:
            try: os.unlink(name)
            except OSError: pass
        case 4:
            try: os.chmod(name, random.choice((0o600, 0o640, 0o644)))
            except OSError: pass
        case 5:
            os.makedirs(f"{root}/d{number % 7}", exist_ok=True)
            open(f"{root}/d{number % 7}/f{number % 11}", "w").close()
"""


@pytest.mark.parametrize("mode", ["sync", "batched"])
def test_heavy_writing_is_never_taken_for_a_mismatch(new_volume, mode):
    heavy_writing(new_volume, mode, rounds=1)


@pytest.mark.slow
@pytest.mark.deadline(900)
@pytest.mark.parametrize("mode", ["sync", "batched"])
def test_heavy_writing_is_never_taken_for_a_mismatch_in_twenty_runs(new_volume, mode):
    heavy_writing(new_volume, mode, rounds=20)


def heavy_writing(new_volume: Callable[..., Volume], mode: str, rounds: int) -> None:
    volume = new_volume(mode).init().mount_it()
    make_tree(volume.mount)
    (volume.mount / "busy").mkdir()
    for number in range(rounds):
        command = [sys.executable, "-c", WRITER, str(volume.mount / "busy"), "4", str(number)]
        with subprocess.Popen(command) as writer:
            wait_until(lambda: os.listdir(volume.mount / "busy"), 30, "nothing is written")
            assert scrub(volume, expect=0)[0] == []
            assert writer.wait() == 0
    volume.assert_legs_equal()
    scrub(volume, expect=0)
