"""Fixtures of the capture tests: sources that fail, and the command as a user would run it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.failing_disk import FailingDisk, Plan
from support.machine import describe, run

COMMAND = Path(sys.executable).parent / "twinfs-capture"


@dataclass
class Captured:
    """What a finished `twinfs-capture disk --json` said."""

    code: int
    errors: str
    summary: dict[str, Any] = field(default_factory=dict)
    unread: list[tuple[int, int]] = field(default_factory=list)
    mismatches: list[tuple[int, int]] = field(default_factory=list)


def capture(*words: str | Path, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return run(COMMAND, *words, check=check, timeout=timeout)


def capture_disk(source: Path, dest: Path, *options: str | Path, timeout: float = 60) -> Captured:
    done = capture("disk", source, dest, "--json", *options, check=False, timeout=timeout)
    found = Captured(done.returncode, done.stderr)
    for line in done.stdout.splitlines():
        record = json.loads(line)
        match record["type"]:
            case "unread":
                found.unread.append((record["offset_bytes"], record["length_bytes"]))
            case "mismatch":
                found.mismatches.append((record["offset_bytes"], record["length_bytes"]))
            case "summary":
                found.summary = record
    assert found.summary or found.code != 0, describe(done)
    return found


def refusal(*words: str | Path) -> str:
    """What a command that must be refused says; nothing may come on stdout."""
    done = capture("disk", *words, check=False)
    assert done.returncode == 2, describe(done)
    assert done.stdout == ""
    return done.stderr


_STARTED: list[subprocess.Popen[str]] = []


def start_capture(*words: str | Path) -> subprocess.Popen[str]:
    """Ended with the test, if it has not ended before."""
    process = subprocess.Popen(
        [COMMAND, "disk", *words],
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _STARTED.append(process)
    return process


@pytest.fixture(autouse=True)
def _nothing_runs_on() -> Iterator[None]:
    yield
    while _STARTED:
        process = _STARTED.pop()
        if process.returncode is None:
            process.kill()
            process.communicate()


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def failing(workspace: Path) -> Iterator[Callable[..., FailingDisk]]:
    """Make failing disks; a test that hangs in one is freed after two minutes."""
    disks: list[FailingDisk] = []

    def make(content: bytes, plan: Plan | None = None) -> FailingDisk:
        base = workspace / f"disk{len(disks)}"
        base.mkdir()
        disks.append(FailingDisk(base, content, plan))
        return disks[-1]

    timer = threading.Timer(120, lambda: [os.kill(disk._process.pid, signal.SIGKILL) for disk in disks])
    timer.daemon = True
    timer.start()
    yield make
    timer.cancel()
    for disk in disks:
        disk.stop()
