"""Times to the nanosecond, before 1970 and after 2038."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

from support.machine import as_other, needs_root, outcome, run
from support.parity import parity

SECOND = 10**9
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
AT_FDCWD = -100

_libc = ctypes.CDLL(None, use_errno=True)


def utimensat(path: Path, atime: tuple[int, int], mtime: tuple[int, int]) -> None:
    """utimensat(2) with its special nanoseconds, which os.utime does not offer."""
    times = (ctypes.c_long * 4)(*atime, *mtime)
    if _libc.utimensat(AT_FDCWD, os.fsencode(path), times, 0) != 0:
        raise OSError(ctypes.get_errno(), "utimensat")


def times_of(path: Path) -> tuple[int, int]:
    info = path.lstat()
    return info.st_atime_ns, info.st_mtime_ns


@parity
def test_utime_keeps_nanoseconds(root: Path) -> object:
    (root / "file").touch()
    (root / "dir").mkdir()
    seen = []
    for number in (0, 1, 999_999_999, 123_456_789_012_345_678, 1_000_000_000_000_000_001):
        for name in ("file", "dir"):
            os.utime(root / name, ns=(number + 5, number))
            seen.append(times_of(root / name))
    return seen


@parity
def test_times_before_1970_and_after_2038(root: Path) -> object:
    seen = []
    # 1901 to 2446 is what ext4 holds.
    for seconds in (-1, -86_400, -(2**31) + 1, 2**31 - 1, 2**31, 2**32, 4_102_444_800, 14_000_000_000):
        path = root / f"at{seconds}"
        path.touch()
        answer = outcome(os.utime, path, ns=(seconds * SECOND + 7, seconds * SECOND + 123_456_789))
        seen.append((answer, times_of(path)))
    return seen


@parity
def test_utime_of_a_symlink_leaves_its_target_alone(root: Path) -> object:
    (root / "file").touch()
    (root / "link").symlink_to("file")
    os.utime(root / "file", ns=(1 * SECOND, 2 * SECOND))
    os.utime(root / "link", ns=(3 * SECOND, 4 * SECOND), follow_symlinks=False)
    seen = [times_of(root / "link"), times_of(root / "file")]
    os.utime(root / "link", ns=(5 * SECOND, 6 * SECOND))  # followed, which is an access to the link
    return [*seen, (root / "link").lstat().st_mtime_ns, times_of(root / "file")]


@parity
def test_utime_omit_and_now(root: Path) -> object:
    path = root / "file"
    path.touch()
    os.utime(path, ns=(11 * SECOND, 22 * SECOND))
    utimensat(path, (0, UTIME_OMIT), (33, 44))
    seen: list[object] = [times_of(path)]
    utimensat(path, (55, 66), (0, UTIME_OMIT))
    seen.append(times_of(path))
    utimensat(path, (0, UTIME_OMIT), (0, UTIME_NOW))
    seen.append((path.stat().st_atime_ns, abs(path.stat().st_mtime - time.time()) < 5))
    return seen


@parity
def test_utime_through_a_descriptor_and_after_a_write(root: Path) -> object:
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"cached")
    os.utime(fd, ns=(7 * SECOND, 8 * SECOND + 9))
    at_once = os.fstat(fd).st_mtime_ns
    os.close(fd)  # the kernel's own time of the write must not come after ours
    return at_once, times_of(root / "file")


@parity
def test_mtime_moves_with_content_and_ctime_with_metadata(root: Path) -> object:
    path = root / "file"
    path.write_bytes(b"old")
    seen = []
    for change in (
        lambda: path.chmod(0o600),
        lambda: path.rename(root / "file2").rename(path),
        lambda: os.link(path, root / "other"),
        lambda: path.read_bytes(),
        lambda: path.write_bytes(b"new"),
        lambda: os.truncate(path, 1),
        lambda: path.open("ab").close(),
    ):
        os.utime(path, ns=(SECOND, SECOND))
        change()
        seen.append(path.stat().st_mtime_ns == SECOND)
    return seen


@parity
def test_a_directorys_mtime_moves_with_its_names(root: Path) -> object:
    directory = root / "dir"
    directory.mkdir()
    (root / "outside").touch()
    seen = []
    for change in (
        lambda: (directory / "file").touch(),
        lambda: (directory / "file").chmod(0o600),
        lambda: (directory / "file").write_bytes(b"x"),
        lambda: (directory / "file").rename(directory / "renamed"),
        lambda: os.link(directory / "renamed", directory / "linked"),
        lambda: os.unlink(directory / "linked"),
        lambda: (directory / "sub").mkdir(),
        lambda: (directory / "sub").rmdir(),
        lambda: (root / "outside").rename(directory / "inside"),
        lambda: (directory / "inside").rename(root / "outside"),
        lambda: os.listdir(directory),
        lambda: os.symlink("x", directory / "link"),
        lambda: os.mkfifo(directory / "fifo"),
        lambda: directory.chmod(0o700),
    ):
        os.utime(directory, ns=(SECOND, SECOND))
        change()
        seen.append(directory.stat().st_mtime_ns == SECOND)
    return seen


@needs_root
@parity
def test_utime_of_others(root: Path) -> object:
    (root / "mine").touch(mode=0o666)
    (root / "mine").chmod(0o666)
    (root / "closed").touch(mode=0o600)
    return [
        as_other(lambda: outcome(os.utime, root / "mine", ns=(1, 1))),  # only the owner sets a given time
        as_other(lambda: outcome(os.utime, root / "mine")),  # who may write may say "now"
        as_other(lambda: outcome(os.utime, root / "closed")),
        outcome(os.utime, root / "missing"),
    ]


@parity
def test_touch_and_cp_keep_times(root: Path) -> object:
    run("touch", "-d", "2001-02-03 04:05:06.789012345 UTC", root / "file")
    run("cp", "-p", root / "file", root / "copy")
    run("mkdir", "-p", root / "d/e")
    run("touch", "-d", "1999-12-31 23:59:59.5 UTC", root / "d")
    run("cp", "-a", root / "d", root / "d2")
    return [(root / name).stat().st_mtime_ns for name in ("file", "copy", "d", "d2")]
