"""/etc/fstab, as far as a mount by name must agree with it. See fstab(5)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from twinfs.daemon.find import is_same_path
from twinfs.daemon.mounts import FILESYSTEM_TYPE

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Line:
    """Its first, second and fourth field."""

    source: str
    mountpoint: str
    options: str


def source_for(mountpoint: str, fstab: Path = Path("/etc/fstab")) -> str | None:
    """The first field of the line that mounts one of our volumes here, or None.

    What the mount table shows must equal it, or every `mount -a` would stack another mount on top.
    """
    return next((line.source for line in lines(fstab) if is_same_path(line.mountpoint, mountpoint)), None)


def lines(fstab: Path = Path("/etc/fstab")) -> Iterator[Line]:
    """Those that mount one of our volumes."""
    try:
        text = os.fsdecode(fstab.read_bytes())
    except OSError:
        return
    for line in text.splitlines():
        fields = [_unescape(field) for field in line.split()]
        if len(fields) >= 3 and not fields[0].startswith("#") and fields[2] == FILESYSTEM_TYPE:
            yield Line(fields[0], fields[1], fields[3] if len(fields) > 3 else "defaults")


def _unescape(field: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)
