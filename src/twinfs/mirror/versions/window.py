"""How long, and how much, is kept."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

from twinfs.mirror.versions.shelf import SEGMENTS_KEPT, Shelf
from twinfs.model import VolumeConfig

COPY_BYTES: Final = 8 << 20
"""A file that is truncated or written in place is copied only up to this size, where there are no reflinks:
the user who truncates it waits for that."""

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(%|[KMGT]i?B?|B)?", re.IGNORECASE)
_UNITS: Final = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_LEAST_SEGMENT_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Window:
    """`size` is a share of the leg's file system ("10%") or bytes ("50G")."""

    seconds: float
    size: str = "10%"

    def limit_bytes(self, space: os.statvfs_result) -> int:
        return size_in(self.size, space.f_blocks * space.f_frsize)

    def shelf(self, root_fd: int) -> Shelf:
        limit = self.limit_bytes(os.fstatvfs(root_fd))
        return Shelf(root_fd, self.seconds / SEGMENTS_KEPT, max(_LEAST_SEGMENT_BYTES, limit // SEGMENTS_KEPT))


def window_of(config: VolumeConfig) -> Window | None:
    """None where the settings ask for no versions."""
    seconds = config.keep_versions_seconds
    return None if seconds is None else Window(seconds, config.keep_versions_size)


def size_in(text: str, total_bytes: int) -> int:
    """Bytes from "10%" of the total, "50G", "800M" or a number. ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise ValueError(f"{text!r} is not a size such as 10%, 50G or 800M")
    if match[2] == "%":
        if float(match[1]) > 100:
            raise ValueError(f"{text!r} is more than there is")
        return int(total_bytes * float(match[1]) / 100)
    return int(float(match[1]) * _UNITS[(match[2] or "")[:1].upper()])
