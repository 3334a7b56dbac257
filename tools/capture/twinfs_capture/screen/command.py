"""`twinfs-capture screen`."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from twinfs.cli.talk import result, say
from twinfs.errors import UsageError
from twinfs.report import human, json_lines
from twinfs_capture.errors import CaptureError, RefusedError
from twinfs_capture.parameters import Json, Seconds
from twinfs_capture.screen import display as displays
from twinfs_capture.screen import geometry as geometries
from twinfs_capture.screen.film import FilmWriter
from twinfs_capture.screen.geometry import Area
from twinfs_capture.screen.grab import Grabber
from twinfs_capture.screen.library import check_library
from twinfs_capture.screen.targets import Target, existing, target_for
from twinfs_capture.stop import Stop


def screen(
    out: Annotated[Path, Parameter(help="The film, or frames such as img_%04d.png; its ending decides.")],
    /,
    *,
    geometry: Annotated[
        str | None, Parameter(help="Which part, such as 1024x768+0+0 (the whole screen).")
    ] = None,
    window: Annotated[
        str | None, Parameter(help="A window by a part of its title, or `pick` to click on one.")
    ] = None,
    fps: Annotated[float, Parameter(help="Pictures a second (10).", validator=Number(gt=0, lte=240))] = 10.0,
    duration: Annotated[Seconds | None, Parameter(help="Seconds (until Ctrl-C).")] = None,
    display: Annotated[str | None, Parameter(help="The X display (DISPLAY).")] = None,
    cursor: Annotated[bool, Parameter(help="With the mouse pointer (yes).")] = True,
    lossless: Annotated[bool | None, Parameter(help="Every pixel as it was (.mkv: yes; others: no).")] = None,
    force: Annotated[bool, Parameter(help="Overwrite OUT.", negative=())] = False,
    json: Json = False,
) -> int:
    """Record an X screen, a part of it or a window, into a film or into frames.

    Ctrl-C ends it, and the film is finished. What was recorded until a kill or
    until the disk was full can be played as well.

    For example:

        twinfs-capture screen demo.mkv --geometry 1024x768+0+0 --fps 10
        twinfs-capture screen 'img_%04d.png' --window pick --duration 5
    """
    check_library()
    if geometry is not None and window is not None:
        raise UsageError("--geometry and --window exclude each other")
    # Open until the end: an X server that loses its last client starts anew, in the middle of things.
    with displays.opened(display) as opened:
        window_id, area = _area(opened, geometry, window)
        target = target_for(out, area.width, area.height, lossless)
        check_free(target, is_forced=force)
        for note in target.notes:
            say(note)
        slots = None if duration is None else max(1, round(duration * fps))
        grabber = Grabber(opened.name, area, fps, cursor=cursor, window=window_id, slots=slots)
        recording = _Recording(grabber, target, area, fps)
        with contextlib.closing(grabber):
            try:
                recording.run()
            finally:
                # Also when it failed: what was recorded until then is worth knowing about.
                if recording.frames:
                    recording.report(wants_json=json)
    return 0


def _area(opened: displays.Screen, geometry: str | None, window: str | None) -> tuple[int | None, Area]:
    if window is not None:
        return opened.window_picked() if window == "pick" else opened.window_titled(window)
    return None, opened.area if geometry is None else geometries.parse(geometry, opened.area)


def check_free(target: Target, *, is_forced: bool) -> None:
    """Refuse to overwrite, unless forced. Raises RefusedError, UsageError."""
    if not target.path.absolute().parent.is_dir():
        raise UsageError(f"OUT {target.path}: there is no directory {target.path.absolute().parent}")
    found = existing(target)
    if found and not is_forced:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise RefusedError(f"{found[0]}{more} exists already\n  overwrite: --force; or name another OUT")
    if target.is_frames:
        # Frames of a longer recording would mix with these.
        for path in found:
            path.unlink()


@dataclass
class _Recording:
    grabber: Grabber
    target: Target
    area: Area
    fps: float
    frames: int = 0
    seconds: float = 0.0

    def run(self) -> None:
        """Until the grabber ends, or a signal. Raises CaptureError."""
        stop = Stop("ending: the film is being finished (once more ends at once)", self.grabber.stop)
        begin = time.monotonic()
        with stop.on_signals(), FilmWriter(self.target, self.area.width, self.area.height, self.fps) as film:
            self.grabber.start()
            try:
                while (taken := self.grabber.take()) is not None:
                    slot, frame = taken
                    film.write(frame, slot)
                    self.frames, self.seconds = film.frames, (slot + 1) / self.fps
            except CaptureError as error:
                raise CaptureError(
                    f"{error}\n  what was recorded until then stays: {human.duration(self.seconds)}"
                ) from error
        if self.grabber.error is not None:
            raise self.grabber.error
        if not self.frames:
            raise CaptureError(
                f"no picture in {human.duration(time.monotonic() - begin)}: nothing was recorded"
            )

    def report(self, *, wants_json: bool) -> None:
        dropped = self.grabber.dropped
        size_bytes = written_bytes(self.target)
        if wants_json:
            result(
                json_lines.line(
                    {
                        "type": "film",
                        "path": str(self.target.path),
                        "codec": self.target.codec,
                        "is_lossless": self.target.is_lossless,
                        "width": self.area.width,
                        "height": self.area.height,
                        "fps": self.fps,
                        "frames": self.frames,
                        "dropped": dropped,
                        "seconds": round(self.seconds, 3),
                        "size_bytes": size_bytes,
                    }
                )
            )
        else:
            result(self._text(size_bytes))
        if dropped:
            say("frames were dropped: this machine is too slow for that; try a lower --fps or another ending")

    def _text(self, size_bytes: int) -> str:
        return (
            f"{self.target.path}: {human.count(self.frames, 'frame')} of {self.area.width}x{self.area.height}"
            f" in {human.duration(self.seconds)}, {human.size(size_bytes)},"
            f" {self.grabber.dropped} dropped"
        )


def written_bytes(target: Target) -> int:
    return sum(path.stat().st_size for path in existing(target))
