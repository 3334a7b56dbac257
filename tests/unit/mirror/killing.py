"""Dying at a chosen system call: a process of its own works on a volume and is killed by itself.

The processes are forked from a small server that has everything imported and no threads, so that a
kill costs milliseconds and hundreds of them are affordable.
"""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
import trio

from support.tree import differences, snapshot
from twinfs.fsio import syscalls
from twinfs.journal.log import IntentLog
from twinfs.model import Mode
from unit.mirror.kit import Ground, User, new_ground

Script = Callable[[User], Awaitable[None]]

_SERVER = multiprocessing.get_context("forkserver")
_IMPORTED = ["unit.mirror.killing", "unit.mirror.scripts", "__main__"]


@functools.cache
def _start_server() -> None:
    """Python 3.11's server ignores sys.path when it imports what it is asked to: tell it otherwise."""
    _SERVER.set_forkserver_preload(_IMPORTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()


_CHANGING = (
    *("mkdir", "rmdir", "symlink", "link", "unlink", "rename", "mknod"),
    *("chown", "chmod", "fchmod", "utime", "setxattr", "removexattr", "truncate", "ftruncate"),
    *("write", "pwrite", "sendfile", "fsync", "fdatasync"),
)
_LIBRARY = ("renameat2", "fallocate64", "syncfs", "ioctl")


class Failpoints:
    """Counts calls that change something on a disk; the process dies before call number `last`.

    `is_torn`: if that call writes, the first half is written.
    """

    def __init__(self, last: int, *, is_torn: bool) -> None:
        self._last = last
        self._is_torn = is_torn
        self._count = 0
        self._lock = threading.Lock()

    def install(self) -> None:
        for name in _CHANGING:
            setattr(os, name, self._counted(name, getattr(os, name)))
        plain_open = os.open

        def counted_open(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            if flags & (os.O_CREAT | os.O_TRUNC):
                self._step()
            return plain_open(path, flags, *rest, **named)

        os.open = counted_open  # type: ignore[assignment]
        for name in _LIBRARY:
            function = getattr(syscalls._libc, name)
            setattr(syscalls._libc, name, self._counted(name, function))

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if self._step(is_last_word=not (self._is_torn and name in ("write", "pwrite"))):
                fd, data, *rest = arguments
                function(fd, bytes(data)[: len(data) // 2], *rest)
                die()
            return function(*arguments, **named)

        return call

    def _step(self, *, is_last_word: bool = True) -> bool:
        with self._lock:
            self._count += 1
            is_time = self._count == self._last
            if is_time and is_last_word:
                die()
        return is_time


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


@dataclass(frozen=True)
class Death:
    """When to die: before system call `last` of what follows `opening` or, if so asked, of all."""

    last: int
    is_torn: bool = False
    is_counting_start: bool = False


def _work(ground: Ground, script: Script | None, death: Death) -> None:
    """In the process that dies. Without a script it only starts and drains."""

    async def main() -> None:
        failpoints = Failpoints(death.last, is_torn=death.is_torn)
        if death.is_counting_start:
            failpoints.install()
        volume = ground.open()
        user = User(volume)
        if not death.is_counting_start:
            failpoints.install()
        if script is not None:
            await script(user)
        await volume.close()

    trio.run(main)
    sys.stdout.flush()
    os._exit(0)


def work_until_death(ground: Ground, script: Script | None, death: Death) -> bool:
    """True when it died; False when it ended first."""
    _start_server()
    process = _SERVER.Process(target=_work, args=(ground, script, death))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), f"the process ended with {process.exitcode}, {death}"
    died = process.exitcode != 0
    process.close()
    return died


def furnish(leg: Path) -> None:
    """The same tree on both legs, to the nanosecond."""
    for directory in ("d/deep", "e", "shared"):
        (leg / directory).mkdir(parents=True)
    for name, content in (
        ("a", b"a" * 10_000),
        ("b", b"b" * 3000),
        ("d/deep/f", b"f" * 5000),
        ("empty", b""),
    ):
        (leg / name).write_bytes(content)
    (leg / "twin").write_bytes(b"t" * 100)
    os.link(leg / "twin", leg / "d" / "twin")
    (leg / "link").symlink_to("a")
    (leg / "shared").chmod(0o2775)
    if os.geteuid() == 0:
        os.chown(leg / "shared", 0, 4321)
        (leg / "shared").chmod(0o2775)
    for path in [*sorted(leg.rglob("[!.]*"), reverse=True), leg]:
        if ".twinfs" not in path.parts:
            os.utime(path, ns=(10**18, 10**18), follow_symlinks=False)


def furnished_ground(base: Path, mode: Mode, keep: float | None = None) -> Ground:
    """A volume that was closed cleanly, with equal legs that are not empty."""
    ground = new_ground(base, mode, keep=keep)
    for leg in (ground.primary, ground.secondary):
        furnish(leg)
    log = IntentLog(ground.state / "pair", ground.config.volume_id)
    log.start([], 0)
    log.close(is_clean=True)
    return ground


def recover(ground: Ground) -> list[str]:
    """Start again, drain and close; returns how the legs differ then, or what the primary lost by it."""
    before = snapshot(ground.primary)

    async def main() -> None:
        volume = ground.open()
        await volume.close()

    trio.run(main)
    after = snapshot(ground.primary)
    troubles = [f"primary changed: {line}" for line in differences(before, after)]
    return troubles + differences(after, snapshot(ground.secondary))


Check = Callable[[Ground], list[str]]
"""What else went wrong, of legs that have recovered."""


def die_everywhere(
    base: Path,
    mode: Mode,
    script: Script,
    *,
    first: int = 1,
    step: int = 1,
    is_torn: bool = False,
    keep: float | None = None,
    check: Check = lambda ground: [],
) -> list[str]:
    """Run the script once for each system call it makes (every `step`-th from `first`), dying there.

    Returns all that went wrong.
    """

    def deaths(ground: Ground, last: int) -> list[tuple[Script | None, Death]]:
        return [(script, Death(last, is_torn))]

    return _until_it_lives(base, mode, first, step, deaths, keep, check)


def die_twice(
    base: Path, mode: Mode, script: Script, once: int, *, first: int = 1, step: int = 1
) -> list[str]:
    """Die at call number `once` of the script, and then everywhere in the next start and its drain."""

    def deaths(ground: Ground, last: int) -> list[tuple[Script | None, Death]]:
        return [(script, Death(once)), (None, Death(last, is_counting_start=True))]

    return _until_it_lives(base, mode, first, step, deaths)


def _until_it_lives(
    base: Path,
    mode: Mode,
    first: int,
    step: int,
    deaths: Callable[[Ground, int], list[tuple[Script | None, Death]]],
    keep: float | None = None,
    check: Check = lambda ground: [],
) -> list[str]:
    troubles: list[str] = []
    for last in itertools.count(first, step):
        here = base / f"{last}"
        ground = furnished_ground(here, mode, keep)
        for script, death in deaths(ground, last):
            has_died = work_until_death(ground, script, death)
        troubles += [f"killed at {last}: {line}" for line in recover(ground) + check(ground)]
        shutil.rmtree(here)
        if not has_died:
            assert last > 5, "it did nothing"
            break
    return troubles
