"""A tree of all that is odd: names, sizes, times, kinds, attributes."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from support.machine import run, tool

_FICLONE = 0x40049409
_NS = 10**9


def fill(root: Path, *, many: int) -> None:
    """`many`: how many names the large directory has."""
    _names(root / "names")
    _many(root, many)
    _deep(root)
    _contents(root / "contents")
    _kinds(root / "kinds")
    _times(root / "times")
    _attributes(root / "attributes")


def _names(base: Path) -> None:
    base.mkdir()
    for name in (
        b"n" * 255,
        b"\xff\xfe not UTF-8",
        "täuschend echt".encode(),
        b" ",
        b"new\nline",
        b"\\",
        b"a",
    ):
        Path(os.fsdecode(os.path.join(bytes(base), name))).write_bytes(name)


def _many(root: Path, many: int) -> None:
    """Two directories that grow in turn, so that the blocks of neither lie together."""
    first, second = root / "many", root / "others"
    first.mkdir()
    second.mkdir()
    (first / "real").write_text("one file under all these names")
    for number in range(many):
        os.link(first / "real", first / f"name of some length {number}")
        if number < many // 4:
            os.link(first / "real", second / f"another, {number}")
    for number in range(0, many, 7):
        os.unlink(first / f"name of some length {number}")


def _deep(root: Path) -> None:
    path = root
    for level in range(60):
        path = path / f"level {level}"
        path.mkdir()
    (path / "bottom").write_text("reached")


def _contents(base: Path) -> None:
    base.mkdir()
    (base / "empty").touch()
    (base / "small").write_bytes(b"x")
    (base / "megabytes").write_bytes(os.urandom(3 << 20) + b"end")
    with open(base / "holes", "wb") as file:
        for offset in (100_000, 3_000_000, 900_000_001):
            os.pwrite(file.fileno(), os.urandom(10_000), offset)
    with open(base / "5 TB", "wb") as file:
        os.pwrite(file.fileno(), b"far out", 5 * 10**12)
    with open(base / "only a hole", "wb") as file:
        file.truncate(1 << 40)
    with open(base / "fragmented", "wb") as file:
        for number in range(3000):
            os.pwrite(file.fileno(), b"%08d" % number * 512, number * 8192)
    with open(base / "reserved", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 1 << 20)
        os.pwrite(file.fileno(), os.urandom(5000), 300_000)
        os.posix_fallocate(file.fileno(), 1 << 20, 1 << 20)
    os.link(base / "small", base / "small's other name")


def reflink(base: Path) -> None:
    """One file twice, and then changed here and there: extents that are shared, and many small ones."""
    (base / "original").write_bytes(os.urandom(2 << 20))
    with open(base / "original", "rb") as source, open(base / "clone", "wb") as copy:
        fcntl.ioctl(copy, _FICLONE, source.fileno())
        for offset in range(0, 2 << 20, 65536):
            os.pwrite(copy.fileno(), os.urandom(4096), offset)
            os.fsync(copy.fileno())


def _kinds(base: Path) -> None:
    base.mkdir()
    os.mkfifo(base / "fifo")
    os.mknod(base / "socket", stat.S_IFSOCK | 0o600)
    os.mknod(base / "block device", stat.S_IFBLK | 0o640, os.makedev(259, 70_001))
    os.mknod(base / "character device", stat.S_IFCHR | 0o4666, os.makedev(1, 3))
    for length in (1, 60, 300, 400, 900, 1000, 1023):
        os.symlink("t" * length, base / f"link of {length}")
    os.symlink(b"/not/\xff/UTF-8", bytes(base) + b"/other link")
    (base / "sticky").mkdir(mode=0o1777)
    (base / "owned").touch()
    os.chown(base / "owned", 4_000_000_000, 4_294_967_294)


def _times(base: Path) -> None:
    base.mkdir()
    for seconds in (0, -1, -(2**31), -(2**31) + 1, 2**31 - 1, 2**31, 2**32 + 5, 15 * 10**9, 10**9):
        path = base / str(seconds)
        path.touch()
        os.utime(path, ns=(seconds * _NS + 1, seconds * _NS + 987_654_321))


def _attributes(base: Path) -> None:
    base.mkdir()
    for name, count, size in (("few", 3, 5), ("leaf", 20, 70), ("node", 900, 60), ("tall", 3000, 200)):
        path = base / name
        path.touch()
        for number in range(count):
            os.setxattr(path, f"user.{name}-{number}", os.urandom(size))
    for name, size in (("remote", 65536), ("smaller remote", 5000), ("empty", 0)):
        (base / name).touch()
        os.setxattr(base / name, "user.big", os.urandom(size))
        os.setxattr(base / name, "trusted.big", os.urandom(size // 2))
        os.setxattr(base / name, "security.any", b"s")
    (base / "directory").mkdir()
    os.setxattr(base / "directory", "user." + "n" * 250, b"on a directory")
    os.symlink("target", base / "link")
    os.setxattr(base / "link", "trusted.of-link", b"1", follow_symlinks=False)
    setfacl = tool("setfacl", "acl")
    run(setfacl, "-m", "u:12345:rw,g:4000000000:x,m:rwx", base / "few")
    run(setfacl, "-m", "u:0:r,d:u:7:rwx,d:o::-", base / "directory")
    run(setfacl, "-m", ",".join(f"u:{uid}:r" for uid in range(1000, 1060)), base / "empty")
