"""What tests of overlays are made of."""

from __future__ import annotations

from pathlib import Path

from support.images import MIB, blank, tool
from support.machine import run
from support.odd_tree import SECOND, Wants
from support.volume import twinfs_command

WANTS = Wants(
    entries=60,
    depth=8,
    has_large_sparse=False,
    long_xattr_bytes=500,
    times=(1_600_000_000 * SECOND, -86_400 * SECOND, 2_000_000_000 * SECOND),
)
OLD_ONLY = frozenset({"old_only"})
"""Times that a test did not set, or the image did not have, differ between two runs."""
REMADE = OLD_ONLY | {"blocks", "mtime_ns"}


def ext4(path: Path, source: Path, size_bytes: int = 64 * MIB) -> Path:
    tool("mkfs.ext4", "-q", "-F", "-d", source, blank(path, size_bytes))
    return path


def extracted(image: Path, place: Path, *words: str | Path) -> Path:
    """A plain copy of what is in an image of one file system."""
    run(*twinfs_command(), "image", "extract", *words, image, "/p0", place)
    return place
