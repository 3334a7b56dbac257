"""`twinfs-capture frames`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.talk import result
from twinfs.errors import UsageError
from twinfs.report import human
from twinfs_capture import devices
from twinfs_capture.errors import CaptureError
from twinfs_capture.frames.film import KINDS, Film
from twinfs_capture.screen.library import check_library

_STARTS_WITHIN_SECONDS = 120.0


def frames(
    film: Annotated[Path, Parameter(help="A recording.")],
    mountpoint: Annotated[Path, Parameter(help="An empty directory.")],
    /,
    *,
    kinds: Annotated[
        str, Parameter(name="--format", help="Which files each frame has: png, xwd, ppm (png,xwd).")
    ] = "png,xwd",
    foreground: Annotated[bool, Parameter(help="Stay, until it is unmounted.", negative=())] = False,
) -> int:
    """Mount a recording as img_0001.png, img_0001.xwd...: frames without the disk space.

    Each is decoded when it is read. Unmount it with `fusermount3 -u MOUNTPOINT`.

    For example:

        twinfs-capture frames demo.mkv /mnt/frames
    """
    check_library()
    wanted = tuple(dict.fromkeys(word.strip() for word in kinds.split(",") if word.strip()))
    if not wanted or not set(wanted) <= set(KINDS):
        raise UsageError(f"--format {kinds}: known are {', '.join(KINDS)}")
    if not mountpoint.is_dir():
        raise UsageError(f"MOUNTPOINT {mountpoint}: there is no such directory")
    if foreground:
        _serve(film, mountpoint, wanted)
    else:
        _start(film, mountpoint, kinds)
    return 0


def _serve(film: Path, mountpoint: Path, kinds: tuple[str, ...]) -> None:
    from twinfs_capture.frames.mount import serve

    opened = Film(film)
    try:
        serve(opened, mountpoint, kinds)
    finally:
        opened.close()


def _start(film: Path, mountpoint: Path, kinds: str) -> None:
    """In a process of its own; returns when the frames are there, or with that process's own words."""
    before = _mounts_at(mountpoint)
    words = ["frames", str(film.absolute()), str(mountpoint.absolute()), "--format", kinds, "--foreground"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "twinfs_capture.main", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd="/",
            start_new_session=True,
        )
        deadline = time.monotonic() + _STARTS_WITHIN_SECONDS
        while _mounts_at(mountpoint) == before:
            if process.poll() is not None:
                errors.seek(0)
                message = errors.read().decode(errors="replace").strip().removeprefix("twinfs-capture: ")
                raise CaptureError(message or f"the mount ended at once, with exit code {process.returncode}")
            if time.monotonic() > deadline:
                process.terminate()
                raise CaptureError(f"{film} was not mounted within {human.duration(_STARTS_WITHIN_SECONDS)}")
            time.sleep(0.02)
    # It lives on, and nobody waits for it here.
    process.returncode = 0
    result(f"{film}: its frames are in {mountpoint}; unmount with: fusermount3 -u {mountpoint}")


def _mounts_at(mountpoint: Path) -> int:
    whole = str(mountpoint.resolve())
    return sum(mount.mountpoint == whole for mount in devices.mounts())
