"""`twinfs-capture convert`."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from twinfs.cli.talk import result, say
from twinfs.errors import UsageError
from twinfs.report import human, json_lines
from twinfs_capture.errors import CaptureError
from twinfs_capture.parameters import Json
from twinfs_capture.screen.command import check_free, written_bytes
from twinfs_capture.screen.film import FilmWriter
from twinfs_capture.screen.library import check_library
from twinfs_capture.screen.pictures import frames_of, matching, same_size
from twinfs_capture.screen.targets import existing, target_for
from twinfs_capture.stop import Stop


def convert(
    frames: Annotated[str, Parameter(help="Pictures such as 'img_*.xwd' or 'img_%04d.png', or a film.")],
    out: Annotated[Path, Parameter(help="The film, or frames such as img_%04d.png; its ending decides.")],
    /,
    *,
    fps: Annotated[float, Parameter(help="Pictures a second (10).", validator=Number(gt=0, lte=240))] = 10.0,
    lossless: Annotated[bool | None, Parameter(help="Every pixel as it was (.mkv: yes; others: no).")] = None,
    force: Annotated[bool, Parameter(help="Overwrite OUT.", negative=())] = False,
    json: Json = False,
) -> int:
    """Make a film of pictures, pictures of a film, or pictures of another kind.

    Reads xwd, png, ppm, jpg, tga, sgi, bmp and tiff, in the order of their
    numbers, and what ffmpeg can decode.

    For example:

        twinfs-capture convert 'img_*.xwd' out.mkv --fps 10
        twinfs-capture convert 'img_*.xwd' 'img_%04d.png'
    """
    check_library()
    names = matching(frames)
    pictures = same_size(frames_of(names), names)
    first = next(pictures, None)
    if first is None:
        raise CaptureError(f"{frames}: there is no picture in it")
    target = target_for(out, first.width, first.height, lossless)
    sources = {path.resolve() for path in names}
    if out.resolve() in sources or any(path.resolve() in sources for path in existing(target)):
        raise UsageError(f"OUT {out} would overwrite what it is made of; name another one")
    check_free(target, is_forced=force)
    for note in target.notes:
        say(note)
    stop = Stop("ending: the film is being finished (once more ends at once)")
    with stop.on_signals(), FilmWriter(target, first.width, first.height, fps) as film:
        for number, frame in enumerate(chain([first], pictures)):
            stop.check()
            film.write(frame, number)
    size_bytes = written_bytes(target)
    if json:
        fields: dict[str, json_lines.Json] = {"frames": film.frames, "fps": fps, "size_bytes": size_bytes}
        result(json_lines.line({"type": "film", "path": str(out), "codec": target.codec, **fields}))
    else:
        result(f"{out}: {human.count(film.frames, 'frame')}, {human.size(size_bytes)}")
    return 0
