"""What OUT's ending means: a container, a codec and their settings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from twinfs.errors import UsageError

# Ten frames are all that has to be decoded to reach any one; also what a damaged place costs.
_GOP: Final = "10"
_X264_LOSSLESS: Final = {"qp": "0", "preset": "ultrafast", "tune": "zerolatency", "g": _GOP}
# Matroska: each packet goes to the kernel at once, clusters are short: kill -9 costs a fifth of a second.
_MATROSKA: Final = {"flush_packets": "1", "cluster_time_limit": "200"}
# A plain mp4 is nothing without the index written at its end; fragments can be played as far as they go.
_MP4: Final = {
    "flush_packets": "1",
    "movflags": "empty_moov+default_base_moof",
    "frag_duration": "200000",
}

_FRAME_CODECS: Final = {
    "png": ("png", "rgb24"),
    "ppm": ("ppm", "rgb24"),
    "xwd": ("xwd", "bgra"),
    "jpg": ("mjpeg", "yuvj444p"),
    "jpeg": ("mjpeg", "yuvj444p"),
    "tga": ("targa", "bgr24"),
    "sgi": ("sgi", "rgb24"),
}
_NUMBER: Final = re.compile(r"%0?\d*d")


@dataclass(frozen=True, slots=True)
class Target:
    """How to write OUT. `is_frames`: OUT is a pattern, and each frame a file."""

    path: Path
    container: str
    codec: str
    pixels: str
    codec_options: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)
    is_frames: bool = False
    is_lossless: bool = False
    notes: tuple[str, ...] = ()


def target_for(path: Path, width: int, height: int, lossless: bool | None) -> Target:
    """Raises UsageError for an ending that is not known."""
    ending = path.suffix.lower().lstrip(".")
    if ending in _FRAME_CODECS:
        return _frames(path, ending, lossless)
    match ending:
        case "mkv":
            return _x264(path, "matroska", _MATROSKA, width, height, is_lossless=lossless is not False)
        case "mp4":
            return _x264(path, "mp4", _MP4, width, height, is_lossless=bool(lossless))
        case "webm":
            return _webm(path, is_lossless=bool(lossless))
        case "gif":
            if lossless:
                raise UsageError("--lossless: a GIF has 256 colours a frame at most; use .mkv")
            return Target(path, "gif", "gif", "pal8", {}, {"flush_packets": "1"})
    raise UsageError(
        f"OUT {path}: its ending must say what to make of it: .mkv, .mp4, .webm, .gif,"
        " or for frames img_%04d.png, .ppm, .xwd, .jpg, .tga, .sgi"
    )


def _x264(
    path: Path, container: str, options: dict[str, str], width: int, height: int, *, is_lossless: bool
) -> Target:
    if is_lossless:
        return Target(path, container, "libx264rgb", "bgr0", _X264_LOSSLESS, options, is_lossless=True)
    codec_options = {"crf": "20", "preset": "veryfast", "tune": "zerolatency", "g": "50"}
    if width % 2 or height % 2:
        note = (
            f"note: {width}x{height} is odd, so colours are stored for every pixel (4:4:4);"
            " some players want even sizes"
        )
        return Target(path, container, "libx264", "yuv444p", codec_options, options, notes=(note,))
    return Target(path, container, "libx264", "yuv420p", codec_options, options)


def _webm(path: Path, *, is_lossless: bool) -> Target:
    options = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "g": "50", "lag-in-frames": "0"}
    if is_lossless:
        return Target(
            path, "webm", "libvpx-vp9", "gbrp", {**options, "lossless": "1"}, _MATROSKA, is_lossless=True
        )
    return Target(path, "webm", "libvpx-vp9", "yuv420p", {**options, "crf": "24", "b": "0"}, _MATROSKA)


def _frames(path: Path, ending: str, lossless: bool | None) -> Target:
    if len(_NUMBER.findall(path.name)) != 1 or path.name.count("%") != 1:
        raise UsageError(f"OUT {path}: frames take a number in their name, such as img_%04d.{ending}")
    if "%" in str(path.parent):
        raise UsageError(f"OUT {path}: the number belongs into the name, not into the directory")
    codec, pixels = _FRAME_CODECS[ending]
    if codec == "mjpeg":
        if lossless:
            raise UsageError("--lossless: JPEG is not; use .png, .ppm, .xwd, .tga or .sgi")
        return Target(path, "image2", codec, pixels, {"qmin": "2", "qmax": "2"}, is_frames=True)
    # The highest level takes 16 times as long for a few percent less.
    options = {"compression_level": "1"} if codec == "png" else {}
    return Target(path, "image2", codec, pixels, options, is_frames=True, is_lossless=True)


def frame_name(pattern: Path, number: int) -> Path:
    """The file of one frame."""
    return pattern.with_name(_NUMBER.sub(lambda found: found[0] % number, pattern.name))


def existing(target: Target) -> list[Path]:
    """What is there already and would be overwritten."""
    if not target.is_frames:
        return [target.path] if target.path.exists() else []
    before, after = _NUMBER.split(target.path.name)
    pattern = re.compile(rf"{re.escape(before)}\d+{re.escape(after)}")
    parent = target.path.parent
    return (
        sorted(path for path in parent.iterdir() if pattern.fullmatch(path.name)) if parent.is_dir() else []
    )
