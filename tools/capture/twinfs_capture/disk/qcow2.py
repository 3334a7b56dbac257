"""A finished raw image as qcow2, through qemu-img."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from twinfs.errors import UsageError
from twinfs_capture.disk.begin import sync_directory
from twinfs_capture.errors import CaptureError
from twinfs_capture.stop import Stop

_POLL_SECONDS = 0.1


def qemu_img() -> str:
    """Its path. Raises UsageError; asked for before anything is read."""
    found = shutil.which("qemu-img")
    if found is None:
        raise UsageError("--format qcow2 takes qemu-img: apt-get install qemu-utils; or capture raw")
    return found


def convert(raw: Path, dest: Path, stop: Stop) -> None:
    """Write `raw` as qcow2, compare both, and put it at `dest`, durably. Raises Interrupted."""
    temporary = dest.with_name(dest.name + ".new")
    try:
        _run(stop, "convert", "-f", "raw", "-O", "qcow2", _plain(raw), _plain(temporary))
        _run(stop, "compare", "-f", "raw", "-F", "qcow2", _plain(raw), _plain(temporary))
        fd = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, dest)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(dest)


def _plain(path: Path) -> str:
    """qemu-img takes what is before a colon for a protocol; an absolute path has none."""
    return str(path.absolute())


def _run(stop: Stop, *words: str) -> None:
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [qemu_img(), *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
        )
        while process.poll() is None:
            stop.sleep(_POLL_SECONDS)
            if stop.is_asked:
                process.terminate()
                process.wait()
        stop.check()
        errors.seek(0)
        message = errors.read().decode(errors="replace").strip()
    if process.returncode != 0:
        raise CaptureError(f"qemu-img {words[0]} failed: {message or f'exit code {process.returncode}'}")
