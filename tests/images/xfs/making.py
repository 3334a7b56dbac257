"""XFS images made by mkfs.xfs and filled through the kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.machine import run, tool

SIZE_BYTES = 600 << 20


def make(image: Path, options: Sequence[str] = ()) -> Path:
    """A file with a fresh file system; most of it stays a hole."""
    with open(image, "wb") as file:
        file.truncate(SIZE_BYTES)
    run(tool("mkfs.xfs", "xfsprogs"), "-q", "-f", *options, image)
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
