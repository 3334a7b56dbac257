"""Small files that readers find whole or not at all; what a power cut takes is written again soon."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, data: bytes, mode: int) -> None:
    """Replace `path`: a temporary in the same directory, then rename(2). Raises OSError.

    Never through a symbolic link, and readers that hold the old one keep it. Without fsync: nothing
    here is worth waking a disk for.
    """
    temporary = path.with_name(f".{path.name}.new")
    # Left by a killed daemon, or put there by somebody else: never written into.
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
