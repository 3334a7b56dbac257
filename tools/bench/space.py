"""The scratch directories: one for the whole run, and a fresh place in it for each set-up of a system."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.bench.mounts import abandon_mounts, run, uninterrupted

# Sparse: costs what is written.
IMAGE_BYTES = 8 << 30


@dataclass(frozen=True)
class Place:
    """Where one set-up of a system lives: empty directories, removed with all that is in them."""

    base: Path
    primary: Path
    secondary: Path
    mountpoint: Path
    state: Path


@contextlib.contextmanager
def scratch_space(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="twinfs-bench-", dir=parent)).resolve()
    try:
        yield scratch
    finally:
        with uninterrupted():
            abandon_mounts(scratch)
            shutil.rmtree(scratch)


@contextlib.contextmanager
def fresh_place(scratch: Path, *, on_loops: bool, keep_files: bool) -> Iterator[Place]:
    """`keep_files` until the end of the run, where that is little.

    ext4 does not give a deleted file's inode away for some minutes (recently_deleted() in fs/ext4/ialloc.c),
    and each create nearby searches past all of those: after many deletions, 650 creates a second were seen
    instead of 30,000. So what one set-up deletes slows the next, unless each has a file system of its own.
    """
    base = Path(tempfile.mkdtemp(prefix="place-", dir=scratch))
    try:
        legs = [_loop_disk(base, role) if on_loops else base for role in ("primary", "secondary")]
        place = Place(base, legs[0] / "primary", legs[1] / "secondary", base / "mnt", base / "state")
        for directory in (place.primary, place.secondary, place.mountpoint, place.state):
            directory.mkdir()
        yield place
    finally:
        with uninterrupted():
            abandon_mounts(base)
            if not keep_files:
                shutil.rmtree(base)


def _loop_disk(base: Path, role: str) -> Path:
    """A file system of its own, mounted; the loop device goes with the mount."""
    image, disk = base / f"{role}.img", base / f"disk-{role}"
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    # noinit_itable: no kernel thread goes on writing inode tables while something is measured.
    run("mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=1", image)
    disk.mkdir()
    run("mount", "-o", "loop,noinit_itable", image, disk)
    return disk
