"""Mounts and caches of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tools.bench.errors import BenchError
from tools.demo import mounts_below

IS_ROOT = os.geteuid() == 0
_DROP_CACHES = Path("/proc/sys/vm/drop_caches")


def run(*words: str | Path, env: dict[str, str] | None = None) -> str:
    """A program's stdout; its failure is a BenchError with what it said."""
    done = subprocess.run(
        words,
        env={**os.environ, "LC_ALL": "C", **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode != 0:
        said = (done.stderr + done.stdout).strip()[-1000:]
        raise BenchError(f"{Path(words[0]).name} {words[1]} ended with {done.returncode}: {said}")
    return done.stdout


def unmount(point: Path) -> None:
    if IS_ROOT:
        run("umount", point)
    else:
        run("fusermount3", "-u", point)


def abandon_mounts(base: Path) -> None:
    """Take away every mount below `base`, also a hung one: whoever waits in it gets an error."""
    for point in reversed(mounts_below(base)):
        # -f ends a FUSE connection; -l takes away what is still busy.
        commands = [["umount", "-f"], ["umount", "-l"]] if IS_ROOT else [["fusermount3", "-u", "-z"]]
        for command in commands:
            subprocess.run([*command, point], stderr=subprocess.DEVNULL, check=False)
    if left := mounts_below(base):
        # Deleting now would delete through the mount.
        raise BenchError(f"cannot unmount {', '.join(left)}; left it and {base} as they are")


def drop_caches() -> None:
    """Make the kernel forget names and inodes, where that is allowed.

    2 frees dentries and inodes and leaves the page cache alone: see proc_sys_vm(5).
    """
    if can_drop_caches():
        os.sync()  # dirty objects are not freeable
        _DROP_CACHES.write_text("2\n")


def can_drop_caches() -> bool:
    return os.access(_DROP_CACHES, os.W_OK)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """An impatient second Ctrl-C must not leave half of a tear-down."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
