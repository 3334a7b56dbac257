"""`twinfs-capture play`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import IO, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from twinfs_capture.errors import CaptureError
from twinfs_capture.screen.film import FilmWriter
from twinfs_capture.screen.library import check_library
from twinfs_capture.screen.pictures import frames_of, is_picture, matching, same_size
from twinfs_capture.screen.targets import Target

# Each reads a film from its standard input.
_PLAYERS = {
    "mpv": ("--really-quiet", "-"),
    "ffplay": ("-loglevel", "error", "-autoexit", "-i", "-"),
}


def play(
    frames: Annotated[str, Parameter(help="Pictures such as 'img_*.png' or 'img_%04d.png', or a film.")],
    /,
    *,
    fps: Annotated[float, Parameter(help="Pictures a second (10).", validator=Number(gt=0, lte=240))] = 10.0,
) -> int:
    """Show pictures as a film, without making one; through mpv or ffplay.

    For example:

        twinfs-capture play 'img_*.png' --fps 10
    """
    names = matching(frames)
    player = next((name for name in _PLAYERS if shutil.which(name)), None)
    if player is None:
        raise CaptureError("there is no player: apt-get install mpv (or ffmpeg, which has ffplay)")
    if not is_picture(names[0]):
        return subprocess.run(
            [player, *_PLAYERS[player][:-1], str(names[0].absolute())], check=False
        ).returncode
    check_library()
    process = subprocess.Popen([player, *_PLAYERS[player]], stdin=subprocess.PIPE)
    assert process.stdin is not None
    try:
        _feed(names, fps, process.stdin)
    except BrokenPipeError:
        pass  # its window was closed
    finally:
        _close(process.stdin)
        code = process.wait()
    return 1 if code else 0


def _feed(names: list[Path], fps: float, pipe: IO[bytes]) -> None:
    pictures = same_size(frames_of(names), names)
    first = next(pictures)
    target = Target(names[0], "nut", "rawvideo", "bgr24")
    with FilmWriter(target, first.width, first.height, fps, to=pipe) as film:
        film.write(first, 0)
        for number, frame in enumerate(pictures, 1):
            film.write(frame, number)


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        pass  # what was still in the buffer is for nobody
