"""An image of very many files, and what the processes that show it hold."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path
from typing import Final

_FILES_A_DIRECTORY: Final = 1000


def squashfs_of(image: Path, files: int) -> Path:
    """Empty files, straight out of an archive: to make them on a disk first would take minutes."""
    words = ["sqfstar", "-quiet", "-no-progress", "-comp", "zstd", str(image)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as made:
        assert made.stdin is not None
        with tarfile.open(fileobj=made.stdin, mode="w|", bufsize=1 << 20) as archive:
            for number in range(files):
                if number % _FILES_A_DIRECTORY == 0:
                    directory = tarfile.TarInfo(f"{number // _FILES_A_DIRECTORY:06}")
                    directory.type, directory.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(directory)
                archive.addfile(tarfile.TarInfo(f"{number // _FILES_A_DIRECTORY:06}/file {number:09}"))
    if made.returncode:
        raise subprocess.CalledProcessError(made.returncode, words)
    return image


def resident_bytes(image: Path) -> int:
    """Of all processes that have the image open: their memory, with what they share counted once."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_open = any(Path(os.readlink(fd)) == image for fd in (process / "fd").iterdir())
            rollup = (process / "smaps_rollup").read_text() if is_open else ""
        except OSError:
            continue  # it ended, or is somebody else's
        sizes = (line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:"))
        total += sum(int(size) << 10 for size in sizes)
    return total
