"""Generated sequences of operations: both sides answer every step the same, and end up the same."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from support import tree
from support.machine import outcome
from support.volume import Volume

AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()

# Few names, so that operations meet: a path exists, is missing, or leads through a file about equally often.
names = st.sampled_from(("a", "b", "c", "dir"))
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
modes = st.sampled_from((0o600, 0o644, 0o755, 0o700, 0o4755, 0o2755, 0o1777))
times = st.sampled_from((0, 1, -1, 1_000_000_000_123_456_789, 1_234_567_890_000_000_001))
sizes = st.sampled_from((0, 1, 10, 511, 4095, 4096, 4097, 70_000, 140_000))
offsets = st.sampled_from((0, 1, 100, 4095, 4096, 65_536, 100_000, 1_000_000))
letters = st.sampled_from((b"x", b"y", b"z", b"\0"))
flags = st.sampled_from(
    (
        os.O_RDWR,
        os.O_WRONLY,
        os.O_RDONLY,
        os.O_RDWR | os.O_CREAT,
        os.O_RDWR | os.O_CREAT | os.O_EXCL,
        os.O_RDWR | os.O_CREAT | os.O_TRUNC,
        os.O_WRONLY | os.O_APPEND | os.O_CREAT,
    )
)
keys = st.sampled_from(("user.one", "user.two"))

Act = Callable[[Path, list[int]], Any]


class Machine(RuleBasedStateMachine):
    """Applies each operation to a plain directory and to one of the volume."""

    volume: ClassVar[Volume]
    ends: ClassVar[float]  # monotonic seconds; later examples do nothing, unless one has failed
    has_failed: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.name = f"example{next(_numbers)}"
        self.roots = (self.volume.primary.parent / "plain" / self.name, self.volume.mount / self.name)
        self.fds: tuple[list[int], list[int]] = ([], [])
        self.syncs = 0
        self.is_over = time.monotonic() > self.ends and not self.has_failed
        for root in self.roots:
            root.mkdir(parents=True)

    def same(self, act: Act) -> None:
        """Both sides answer the same."""
        if self.is_over:
            return
        expected, seen = (outcome(act, root, fds) for root, fds in zip(self.roots, self.fds, strict=True))
        if seen != expected:
            type(self).has_failed = True
        assert seen == expected

    # -- names

    @rule(path=paths, mode=modes)
    def mkdir(self, path: str, mode: int) -> None:
        self.same(lambda root, _: os.mkdir(root / path, mode))

    @rule(path=paths)
    def rmdir(self, path: str) -> None:
        self.same(lambda root, _: os.rmdir(root / path))

    @rule(path=paths)
    def unlink(self, path: str) -> None:
        self.same(lambda root, _: os.unlink(root / path))

    @rule(old=paths, new=paths, how=st.sampled_from((0, 0, 0, 1, 2)))
    def rename(self, old: str, new: str, how: int) -> None:
        self.same(lambda root, _: _renameat2(root / old, root / new, how))

    @rule(old=paths, new=paths)
    def link(self, old: str, new: str) -> None:
        self.same(lambda root, _: os.link(root / old, root / new, follow_symlinks=False))

    @rule(path=paths, to=paths)
    def symlink(self, path: str, to: str) -> None:
        self.same(lambda root, _: os.symlink(to, root / path))

    @rule(path=paths, kind=st.sampled_from((stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFREG)), mode=modes)
    def mknod(self, path: str, kind: int, mode: int) -> None:
        self.same(lambda root, _: os.mknod(root / path, kind | mode))

    @rule(path=paths)
    def listdir(self, path: str) -> None:
        self.same(lambda root, _: sorted(os.listdir(root / path)))

    # -- metadata

    @rule(path=paths)
    def lstat(self, path: str) -> None:
        self.same(lambda root, _: _look(os.lstat(root / path)))

    @rule(path=paths, mode=modes)
    def chmod(self, path: str, mode: int) -> None:
        self.same(lambda root, _: os.chmod(root / path, mode))

    @rule(path=paths, mtime_ns=times)
    def utime(self, path: str, mtime_ns: int) -> None:
        self.same(lambda root, _: os.utime(root / path, ns=(5, mtime_ns), follow_symlinks=False))

    @rule(path=paths, key=keys, value=letters, how=st.sampled_from((0, os.XATTR_CREATE, os.XATTR_REPLACE)))
    def setxattr(self, path: str, key: str, value: bytes, how: int) -> None:
        self.same(lambda root, _: os.setxattr(root / path, key, value * 20, how))

    @rule(path=paths, key=keys)
    def removexattr(self, path: str, key: str) -> None:
        self.same(lambda root, _: os.removexattr(root / path, key))

    @rule(path=paths)
    def xattrs(self, path: str) -> None:
        self.same(
            lambda root, _: [(k, os.getxattr(root / path, k)) for k in sorted(os.listxattr(root / path))]
        )

    # -- contents by path

    @rule(path=paths, letter=letters, size=sizes)
    def write_file(self, path: str, letter: bytes, size: int) -> None:
        self.same(
            lambda root, _: _with_file(
                root / path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _writer(letter * size, 0)
            )
        )

    @rule(path=paths, letter=letters, size=sizes, offset=offsets)
    def overwrite(self, path: str, letter: bytes, size: int, offset: int) -> None:
        self.same(lambda root, _: _with_file(root / path, os.O_WRONLY, _writer(letter * size, offset)))

    @rule(path=paths)
    def read_file(self, path: str) -> None:
        self.same(lambda root, _: _with_file(root / path, os.O_RDONLY, _reader(0)))

    @rule(path=paths, size=sizes)
    def truncate(self, path: str, size: int) -> None:
        # To the size it has, truncate(2) moves a plain directory's mtime, but FUSE's kernel side keeps it.
        self.same(lambda root, _: os.truncate(root / path, size) if _size(root / path) != size else None)

    @rule(path=paths, letter=letters)
    def write_mapped(self, path: str, letter: bytes) -> None:
        self.same(lambda root, _: _with_file(root / path, os.O_RDWR, lambda fd: _write_mapped(fd, letter)))

    @rule(path=paths, letter=letters, size=sizes)
    def save_by_rename(self, path: str, letter: bytes, size: int) -> None:
        def act(root: Path, _: list[int]) -> None:
            _with_file(root / "new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _writer(letter * size, 0))
            os.rename(root / "new", root / path)

        self.same(act)

    # -- handles that stay open over other steps

    @precondition(lambda self: len(self.fds[0]) < 6)
    @rule(path=paths, how=flags, mode=modes)
    def open(self, path: str, how: int, mode: int) -> None:
        # O_NONBLOCK: a fifo may lie there, and nobody opens its other end.
        self.same(lambda root, fds: fds.append(os.open(root / path, how | os.O_NONBLOCK, mode)))

    def on_handle(self, number: int, act: Callable[[int], Any]) -> None:
        self.same(lambda _, fds: act(fds[number % len(fds)]))

    @precondition(lambda self: self.fds[0])
    @rule(number=st.integers(0, 5))
    def close(self, number: int) -> None:
        self.same(lambda _, fds: os.close(fds.pop(number % len(fds))))

    @precondition(lambda self: self.fds[0])
    @rule(number=st.integers(0, 5), letter=letters, size=sizes, offset=offsets)
    def write(self, number: int, letter: bytes, size: int, offset: int) -> None:
        self.on_handle(number, _writer(letter * size, offset))

    @precondition(lambda self: self.fds[0])
    @rule(number=st.integers(0, 5), offset=offsets)
    def read(self, number: int, offset: int) -> None:
        self.on_handle(number, _reader(offset))

    @precondition(lambda self: self.fds[0])
    @rule(number=st.integers(0, 5), size=sizes)
    def ftruncate(self, number: int, size: int) -> None:
        self.on_handle(number, lambda fd: os.ftruncate(fd, size))

    @precondition(lambda self: self.fds[0])
    @rule(number=st.integers(0, 5), mode=modes)
    def fchmod(self, number: int, mode: int) -> None:
        self.on_handle(number, lambda fd: os.fchmod(fd, mode))

    @precondition(lambda self: self.fds[0])
    @rule(number=st.integers(0, 5))
    def fsync(self, number: int) -> None:
        self.on_handle(number, lambda fd: os.fsync(fd) if stat.S_ISREG(os.fstat(fd).st_mode) else None)

    @precondition(lambda self: self.fds[0])
    @rule(number=st.integers(0, 5), mtime_ns=times)
    def futimens(self, number: int, mtime_ns: int) -> None:
        self.on_handle(number, lambda fd: os.utime(fd, ns=(5, mtime_ns)))

    @precondition(lambda self: self.fds[0])
    @rule(number=st.integers(0, 5))
    def fstat(self, number: int) -> None:
        self.on_handle(number, lambda fd: _look(os.fstat(fd)))

    @precondition(lambda self: self.syncs < 2 and not self.is_over)
    @rule()
    def sync_volume(self) -> None:
        self.syncs += 1
        self.volume.sync()

    def teardown(self) -> None:
        try:
            for fd in itertools.chain(*self.fds):
                os.close(fd)
            if not self.is_over:
                self.compare()
        except AssertionError:
            type(self).has_failed = True
            raise
        for root in self.roots:
            shutil.rmtree(root)

    def compare(self) -> None:
        plain, seen = self.roots
        two_runs = frozenset({"old_only"})
        tree.assert_same(plain, seen, ignore=two_runs)
        primary, secondary = (leg / self.name for leg in (self.volume.primary, self.volume.secondary))
        tree.assert_same(plain, primary, ignore=two_runs)
        if self.volume.mode == "sync":
            tree.assert_same(primary, secondary, ignore=frozenset({"dir_mtime"}))
        self.volume.sync()
        tree.assert_same(primary, secondary)


def _renameat2(old: Path, new: Path, how: int) -> None:
    if _libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), how) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def _look(info: os.stat_result) -> tuple[object, ...]:
    """Everything that two runs share; times only where they were set and not moved by the clock since."""
    is_old = info.st_mtime_ns < 1_500_000_000 * 10**9
    size = None if stat.S_ISDIR(info.st_mode) else info.st_size
    mtime_ns = info.st_mtime_ns if is_old else "now"
    return stat.filemode(info.st_mode), info.st_nlink, info.st_uid, info.st_gid, size, mtime_ns


def _size(path: Path) -> int | None:
    return os.stat(path).st_size if path.is_file() else None


def _with_file(path: Path, how: int, act: Callable[[int], Any]) -> Any:
    fd = os.open(path, how | os.O_NONBLOCK, 0o644)
    try:
        return act(fd)
    finally:
        os.close(fd)


def _writer(data: bytes, offset: int) -> Callable[[int], Any]:
    return lambda fd: os.pwrite(fd, data, offset)


def _reader(offset: int) -> Callable[[int], Any]:
    # The whole content would make a failure unreadable.
    def read(fd: int) -> object:
        data = os.pread(fd, 2_000_000, offset)
        return len(data), data[:8], data[-8:], hash(data)

    return read


def _write_mapped(fd: int, letter: bytes) -> object:
    size = os.fstat(fd).st_size
    if not stat.S_ISREG(os.fstat(fd).st_mode) or size == 0:
        return "nothing to map"
    with mmap.mmap(fd, size) as view:
        view[size // 2 : size // 2 + 1] = letter
    return size


def _run(volume: Volume, *, examples: int, steps: int, seconds: float) -> None:
    machine = type("BoundMachine", (Machine,), {"volume": volume, "ends": time.monotonic() + seconds})
    profile = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,  # a stale example would be replayed on another volume
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=profile)


@pytest.mark.deadline(300)
def test_short_random_sequences_answer_as_a_plain_directory_does(shared_volume: Volume) -> None:
    _run(shared_volume, examples=60, steps=50, seconds=45)


@pytest.mark.slow
@pytest.mark.deadline(3600)
def test_long_random_sequences_answer_as_a_plain_directory_does(shared_volume: Volume) -> None:
    _run(shared_volume, examples=2000, steps=120, seconds=1500)
