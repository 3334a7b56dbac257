"""Frames from files or from a film, in order: what is converted, previewed and mounted."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from twinfs.errors import UsageError
from twinfs_capture.errors import CaptureError

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_DECODERS: Final = {
    ".png": "png",
    ".xwd": "xwd",
    ".ppm": "ppm",
    ".pgm": "pgm",
    ".pnm": "ppm",
    ".jpg": "mjpeg",
    ".jpeg": "mjpeg",
    ".tga": "targa",
    ".sgi": "sgi",
    ".rgb": "sgi",
    ".bmp": "bmp",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".gif": "gif",
}
_LARGEST_PICTURE_BYTES: Final = 1 << 30


def is_picture(path: Path) -> bool:
    """Whether its ending is that of a single picture; a GIF is taken for a film."""
    return path.suffix.lower() in _DECODERS and path.suffix.lower() != ".gif"


def matching(pattern: str) -> list[Path]:
    """The files of a glob (img_*.png) or a numbered pattern (img_%04d.png), numbers in order of their value.

    A name that exists as it is stands for itself. Raises UsageError where nothing matches.
    """
    if Path(pattern).exists():
        return [Path(pattern)]
    numbered = re.sub(r"%0?\d*d", "*", pattern)
    found = [Path(name) for name in glob.glob(numbered)]
    if numbered != pattern:
        digits = re.compile(re.sub(r"\\\*|\*", r"\\d+", re.escape(Path(numbered).name)))
        found = [path for path in found if digits.fullmatch(path.name)]
    if not found:
        raise UsageError(
            f"FRAMES {pattern}: no file matches (quote the pattern, so that the shell leaves it)"
        )
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """img_2 before img_10."""
    words = re.split(r"(\d+)", str(path))
    return [(int(word), "") if number % 2 else (0, word) for number, word in enumerate(words)]


def frames_of(paths: list[Path]) -> Iterator[VideoFrame]:
    """Every frame: one of each picture, all of a film. Raises CaptureError, naming the file."""
    for path in paths:
        if is_picture(path):
            yield read_picture(path)
        else:
            yield from read_film(path)


def same_size(frames: Iterator[VideoFrame], names: list[Path]) -> Iterator[VideoFrame]:
    """The frames, as long as they are of one size. Raises CaptureError."""
    first: tuple[int, int] | None = None
    for number, frame in enumerate(frames):
        size = (frame.width, frame.height)
        first = first or size
        if size != first:
            name = names[number] if len(names) > 1 else f"frame {number + 1} of {names[0]}"
            raise CaptureError(
                f"{name} is {size[0]}x{size[1]}, the first one {first[0]}x{first[1]}: a film has one size"
            )
        yield frame


def read_picture(path: Path) -> VideoFrame:
    """Decoded from its bytes: no file name reaches ffmpeg, which takes some for protocols."""
    import av

    try:
        if path.stat().st_size > _LARGEST_PICTURE_BYTES:
            raise CaptureError(f"{path} is too large for a picture")
        context = av.CodecContext.create(_DECODERS[path.suffix.lower()], "r")
        assert isinstance(context, av.VideoCodecContext)
        for packet in (av.Packet(path.read_bytes()), None):
            for frame in context.decode(packet):
                return frame
    except OSError as error:
        raise CaptureError(f"{path} cannot be read: {error.strerror or error}") from error
    except (av.FFmpegError, ValueError) as error:
        raise CaptureError(f"{path} is no picture of its kind: {error}") from error
    raise CaptureError(f"{path} is no picture of its kind: nothing could be decoded")


def read_film(path: Path) -> Iterator[VideoFrame]:
    """Raises CaptureError; frames before a damaged place come first."""
    import av

    try:
        with open(path, "rb") as file, av.open(file, "r") as container:
            if not container.streams.video:
                raise CaptureError(f"{path} has no pictures in it")
            yield from container.decode(container.streams.video[0])
    except (av.FFmpegError, OSError) as error:
        raise CaptureError(f"{path} cannot be read as a film: {getattr(error, 'strerror', error)}") from error
