"""Faults planted on a leg behind the volume's back, each with what a scrub has to say of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LARGE = 9 * 1024 * 1024 + 321  # more than two batches of a scrub, and no multiple of anything
SPARSE = 24 * 1024 * 1024


def make_tree(root: Path) -> None:
    """Files, directories, links of every kind, in which faults can be planted."""
    for directory in ("docs", "docs/deep", "gone", "gone/below", "links", "quiet"):
        (root / directory).mkdir()
    for number in range(12):
        (root / "docs" / f"small-{number:02}").write_bytes(b"small %d\n" % number * 40)
        (root / "quiet" / f"{number:02}").write_bytes(os.urandom(number * 1000))
    (root / "docs/deep/large").write_bytes(os.urandom(LARGE))
    with open(root / "sparse", "wb") as sparse:
        sparse.truncate(SPARSE)
        sparse.seek(SPARSE // 2)
        sparse.write(b"in the middle of nothing")
    (root / "empty").touch()
    (root / "links/one").write_bytes(os.urandom(50_000))
    os.link(root / "links/one", root / "links/two")
    os.link(root / "links/one", root / "docs/three")
    (root / "links/apart").write_bytes(b"apart" * 99)
    os.link(root / "links/apart", root / "links/together")
    os.symlink("docs/small-00", root / "links/symbolic")
    (root / "gone/a").write_bytes(b"a" * 5000)
    (root / "gone/below/b").write_bytes(b"b" * 5000)
    os.setxattr(root / "docs/small-05", "user.colour", b"green")
    os.mkfifo(root / "docs/fifo")


@contextmanager
def unnoticed(*paths: Path) -> Iterator[None]:
    """What is done within leaves the paths' times, and their directories', as they were."""
    every = [*paths, *{path.parent for path in paths}]
    before = {path: os.lstat(path) for path in every if os.path.lexists(path)}
    yield
    for path, status in before.items():
        if os.path.lexists(path):
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def flip(path: Path, offset: int) -> None:
    """One bit, and the file's time as it was."""
    with unnoticed(path), open(path, "r+b", buffering=0) as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes((byte[0] ^ 0x10,)))
        os.fsync(file.fileno())


@dataclass(frozen=True)
class Fault:
    """`kind` is what the scrub calls it. A foreign file or a lost one is told by where it is."""

    name: str
    path: str
    kind: str
    plant: Callable[[Path], None]


def _exchange(root: Path) -> None:
    first, second, aside = root / "docs/small-08", root / "docs/small-09", root / "docs/aside"
    with unnoticed(first, second):
        first.rename(aside)
        second.rename(first)
        aside.rename(second)


def _truncate(root: Path) -> None:
    with unnoticed(root / "docs/small-03"):
        os.truncate(root / "docs/small-03", 7)


def _remove(path: Path) -> None:
    with unnoticed(path):
        path.unlink()


def _remove_tree(root: Path) -> None:
    with unnoticed(root / "gone"):
        for path in ("gone/below/b", "gone/a"):
            (root / path).unlink()
        (root / "gone/below").rmdir()
        (root / "gone").rmdir()


def _part(root: Path) -> None:
    """Two names of one file become two files."""
    one, content = root / "links/together", (root / "links/together").read_bytes()
    status = one.stat()
    with unnoticed(one):
        one.unlink()
        one.write_bytes(content)
        os.chmod(one, stat.S_IMODE(status.st_mode))
        os.utime(one, ns=(status.st_atime_ns, status.st_mtime_ns))


def _relink(root: Path) -> None:
    link = root / "links/symbolic"
    status = os.lstat(link)
    with unnoticed(link):
        link.unlink()
        link.symlink_to("docs/small-01")
        os.utime(link, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _grow(root: Path) -> None:
    with open(root / "docs/small-10", "ab") as file:
        file.write(b"more")


FAULTS = (
    Fault("a bit of a small file", "docs/small-00", "content", lambda root: flip(root / "docs/small-00", 11)),
    Fault(
        "a bit of a large file",
        "docs/deep/large",
        "content",
        lambda root: flip(root / "docs/deep/large", LARGE - 9),
    ),
    Fault("a bit in a hole", "sparse", "content", lambda root: flip(root / "sparse", 12_345_678)),
    Fault(
        "a bit of a hard-linked file", "docs/three", "content", lambda root: flip(root / "links/two", 40_000)
    ),
    Fault("a truncated file", "docs/small-03", "content", _truncate),
    Fault("a file that grew", "docs/small-10", "content", _grow),
    Fault("one of two swapped files", "docs/small-08", "content", _exchange),
    Fault("the other of two swapped files", "docs/small-09", "content", lambda root: None),
    Fault(
        "an xattr",
        "docs/small-05",
        "metadata",
        lambda root: os.setxattr(root / "docs/small-05", "user.colour", b"red"),
    ),
    Fault("a mode", "docs/small-06", "metadata", lambda root: os.chmod(root / "docs/small-06", 0o600)),
    Fault("a directory's mode", "quiet", "metadata", lambda root: os.chmod(root / "quiet", 0o711)),
    Fault("a time", "docs/small-07", "metadata", lambda root: os.utime(root / "docs/small-07", ns=(1, 1))),
    Fault("a symbolic link's target", "links/symbolic", "metadata", _relink),
    Fault("a link that is one no more", "links/together", "metadata", _part),
    Fault("a missing file", "docs/small-11", "missing", lambda root: _remove(root / "docs/small-11")),
    Fault("a missing FIFO", "docs/fifo", "missing", lambda root: _remove(root / "docs/fifo")),
    Fault("a missing tree", "gone", "missing", _remove_tree),
)
