"""flock and fcntl locks between processes."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.machine import finish, in_child, outcome, start_python
from support.parity import parity

NOW = fcntl.LOCK_NB


def in_other_process(path: Path, act: Callable[[int], Any]) -> Any:
    """What `act` sees with a descriptor of its own in a process of its own."""

    def child() -> Any:
        fd = os.open(path, os.O_RDWR)
        try:
            return act(fd)
        finally:
            os.close(fd)

    return in_child(child)


@parity
def test_flock_excludes_other_processes(root: Path) -> object:
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    seen = []
    for how in (fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_UN):
        fcntl.flock(fd, how)
        seen.append(
            in_other_process(root / "file", lambda other: outcome(fcntl.flock, other, fcntl.LOCK_EX | NOW))
        )
        seen.append(
            in_other_process(root / "file", lambda other: outcome(fcntl.flock, other, fcntl.LOCK_SH | NOW))
        )
    os.close(fd)
    return seen


@parity
def test_fcntl_locks_exclude_by_range(root: Path) -> object:
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.lockf(fd, fcntl.LOCK_EX, 100, 1000)
    fcntl.lockf(fd, fcntl.LOCK_SH, 100, 2000)

    def try_ranges(other: int) -> object:
        ranges = (
            (fcntl.LOCK_EX, 100, 1050),
            (fcntl.LOCK_SH, 1, 1099),
            (fcntl.LOCK_EX, 900, 1100),
            (fcntl.LOCK_SH, 100, 2000),
        )
        return [outcome(fcntl.lockf, other, how | NOW, length, start) for how, length, start in ranges]

    seen = in_other_process(root / "file", try_ranges)
    fcntl.lockf(fd, fcntl.LOCK_UN, 50, 1000)
    after = in_other_process(
        root / "file", lambda other: outcome(fcntl.lockf, other, fcntl.LOCK_EX | NOW, 50, 1000)
    )
    os.close(fd)
    return seen, after


@parity
def test_f_getlk_names_the_holder(root: Path) -> object:
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 5)
    question = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)

    def ask(other: int) -> object:
        kind, whence, start, length, pid = struct.unpack(
            "hhqqi4x", fcntl.fcntl(other, fcntl.F_GETLK, question)
        )
        return kind, whence, start, length, pid == os.getppid()

    seen = in_other_process(root / "file", ask)
    os.close(fd)
    return seen


@parity
def test_fcntl_locks_end_with_any_close_of_the_process_and_flocks_do_not(root: Path) -> object:
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.lockf(fd, fcntl.LOCK_EX)
    os.close(os.open(root / "file", os.O_RDONLY))
    seen = [in_other_process(root / "file", lambda other: outcome(fcntl.lockf, other, fcntl.LOCK_EX | NOW))]
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.close(os.open(root / "file", os.O_RDONLY))
    seen.append(
        in_other_process(root / "file", lambda other: outcome(fcntl.flock, other, fcntl.LOCK_EX | NOW))
    )
    os.close(fd)
    return seen


@parity
def test_open_file_description_locks(root: Path) -> object:
    first = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    second = os.open(root / "file", os.O_RDWR)
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 100, 0)
    set_lock = 37  # F_OFD_SETLK
    seen = [outcome(fcntl.fcntl, first, set_lock, lock)[0], outcome(fcntl.fcntl, second, set_lock, lock)[0]]
    os.close(first)
    seen.append(outcome(fcntl.fcntl, second, set_lock, lock)[0])
    os.close(second)
    return seen


_COUNTER = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
lock = fcntl.flock if sys.argv[2] == "flock" else fcntl.lockf
for _ in range(100):
    lock(fd, fcntl.LOCK_EX)
    number = int(os.pread(fd, 20, 0) or b"0")
    os.pwrite(fd, b"%d" % (number + 1), 0)
    lock(fd, fcntl.LOCK_UN)
"""


@parity
def test_a_blocking_lock_serialises_writers(root: Path) -> object:
    for kind in ("flock", "lockf"):
        (root / kind).touch()
        counters = [start_python(_COUNTER, root / kind, kind) for _ in range(3)]
        for counter in counters:
            finish(counter)
    return (root / "flock").read_bytes(), (root / "lockf").read_bytes()
