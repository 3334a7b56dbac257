"""XFS images made by mkfs.xfs and filled through the kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.machine import run, tool

# mkfs.xfs refuses what is smaller than 300 MB but to file systems' own tests, which it knows by these.
_FOR_TESTS = {"TEST_DIR": "1", "TEST_DEV": "1", "QA_CHECK_FS": "1"}


def make(image: Path, options: Sequence[str] = (), *, size_bytes: int = 600 << 20) -> Path:
    """A file with a fresh file system; most of it stays a hole."""
    with open(image, "wb") as file:
        file.truncate(size_bytes)
    run(tool("mkfs.xfs", "xfsprogs"), "-q", "-f", *options, image, env=_FOR_TESTS)
    return image


@contextmanager
def mounted(image: Path, options: str = "rw") -> Iterator[Path]:
    """The image mounted beside itself; unmounted and detached after, whatever happens."""
    directory = image.with_suffix(".mnt")
    directory.mkdir(exist_ok=True)
    device = run(tool("losetup", "mount"), "--find", "--show", image).stdout.strip()
    try:
        run("mount", "-t", "xfs", "-o", options, device, directory)
        try:
            yield directory
        finally:
            run("umount", directory)
    finally:
        run("losetup", "-d", device)


def debugger(image: Path, *commands: str, expert: bool = False) -> str:
    """What xfs_db, the file system's own debugger, prints for some commands."""
    words = [word for command in commands for word in ("-c", command)]
    return run(tool("xfs_db", "xfsprogs"), "-x" if expert else "-r", *words, image).stdout


def field(image: Path, name: str, *where: str) -> str:
    """One value that the debugger prints: of the superblock, or of what the commands `where` lead to."""
    lines = debugger(image, *(where or ("sb 0",)), f"p {name}").splitlines()
    return next(line.partition(" = ")[2] for line in lines if line.startswith(f"{name} = "))
