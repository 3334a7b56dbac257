"""Disk images in a volume, as a user puts them there."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.images import MIB, blank, sfdisk, tool
from support.volume import Volume

START = 2048 * 512


def make_image(path: Path, tree: Path, *, megabytes: int = 24) -> Path:
    """A disk with one partition, an ext4 with what is in `tree`."""
    part = blank(path.with_suffix(".part"), (megabytes - 2) * MIB)
    tool("mkfs.ext4", "-q", "-F", "-d", tree, part)
    blank(path, megabytes * MIB)
    sfdisk(path, f"label: dos\nstart=2048, size={(megabytes - 2) * 2048}, type=83\n")
    with path.open("r+b") as whole:
        whole.seek(START)
        whole.write(part.read_bytes())
    part.unlink()
    return path


def inside(volume: Volume, name: str = "disk.img") -> Path:
    return volume.mount / ".twinfs/images" / name


def put(volume: Volume, disk: Path, name: str = "disk.img") -> Path:
    """In the volume; and what is in it."""
    target = volume.mount / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(disk, target)
    return inside(volume, name)
