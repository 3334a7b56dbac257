"""/etc/fstab, as far as a mount by name must agree with it. See fstab(5)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from twinfs.daemon.find import is_same_path
from twinfs.daemon.mounts import FILESYSTEM_TYPE

_OCTAL = re.compile(r"\\([0-7]{3})")


def source_for(mountpoint: str, fstab: Path = Path("/etc/fstab")) -> str | None:
    """The first field of the line that mounts one of our volumes here, or None.

    What the mount table shows must equal it, or every `mount -a` would stack another mount on top.
    """
    try:
        lines = os.fsdecode(fstab.read_bytes()).splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if len(fields) < 3 or fields[0].startswith("#"):
            continue
        if fields[2] == FILESYSTEM_TYPE and is_same_path(_unescape(fields[1]), mountpoint):
            return _unescape(fields[0])
    return None


def _unescape(field: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)
