"""Any frame of a film, by its number."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

from twinfs_capture.errors import CaptureError

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_CODECS: Final = {
    "png": ("png", "rgb24", {"compression_level": "0", "pred": "none"}),
    "xwd": ("xwd", "bgra", {}),
    "ppm": ("ppm", "rgb24", {}),
}
KINDS: Final = tuple(_CODECS)
_CACHED_BYTES: Final = 96 << 20
_NOWHERE: Final = -1000  # no frame is soon after it


class Film:
    """Frames 0 to `count` - 1, encoded as pictures; all of a kind have one size. One thread at a time."""

    def __init__(self, path: Path) -> None:
        """Reads through the film once, without decoding. Raises CaptureError."""
        import av

        self.path = path
        try:
            self._file = open(path, "rb")  # noqa: SIM115  closed by close()
            self._container = av.open(self._file, "r")
            self._stream = self._container.streams.video[0]
            times = {packet.pts for packet in self._container.demux(self._stream) if packet.pts is not None}
        except (av.FFmpegError, OSError, IndexError) as error:
            raise CaptureError(
                f"{path} cannot be read as a film: {getattr(error, 'strerror', error)}"
            ) from error
        self._times = sorted(times)
        if not self._times:
            raise CaptureError(f"{path}: there is no picture in it")
        self._decoded: OrderedDict[int, VideoFrame] = OrderedDict()
        self._encoded: OrderedDict[tuple[int, str], bytes] = OrderedDict()
        self._frames: Iterator[VideoFrame] = iter(())
        self._next = _NOWHERE
        self._sizes = {kind: len(self.picture(0, kind)) for kind in KINDS}

    @property
    def count(self) -> int:
        return len(self._times)

    def size_bytes(self, kind: str) -> int:
        return self._sizes[kind]

    def picture(self, number: int, kind: str) -> bytes:
        """A frame as a file of a kind of KINDS. Raises CaptureError where it cannot be decoded."""
        key = (number, kind)
        if key not in self._encoded:
            data = _encode(self._frame(number), kind)
            largest = max(2, _CACHED_BYTES // max(1, len(data)))
            self._encoded[key] = data
            while len(self._encoded) > largest:
                self._encoded.popitem(last=False)
        self._encoded.move_to_end(key)
        return self._encoded[key]

    def close(self) -> None:
        self._container.close()
        self._file.close()

    def _frame(self, number: int) -> VideoFrame:
        """Goes on decoding where that is near, seeks to the key frame before it otherwise."""
        import av

        if number in self._decoded:
            return self._decoded[number]
        try:
            if not self._next <= number < self._next + 30:
                self._container.seek(self._times[number], stream=self._stream, backward=True)
                self._frames = self._container.decode(self._stream)
            for frame in self._frames:
                at = bisect_left(self._times, frame.pts if frame.pts is not None else -1)
                self._remember(at, frame)
                self._next = at + 1
                if at >= number:
                    break
        except av.FFmpegError as error:
            self._next = _NOWHERE
            raise CaptureError(
                f"{self.path}: frame {number + 1} cannot be decoded: {error.strerror}"
            ) from error
        if number not in self._decoded:
            self._next = _NOWHERE
            raise CaptureError(f"{self.path}: frame {number + 1} cannot be decoded")
        return self._decoded[number]

    def _remember(self, number: int, frame: VideoFrame) -> None:
        largest = max(2, _CACHED_BYTES // (frame.width * frame.height * 4))
        self._decoded[number] = frame
        while len(self._decoded) > largest:
            self._decoded.popitem(last=False)


def _encode(frame: VideoFrame, kind: str) -> bytes:
    import av

    codec, pixels, options = _CODECS[kind]
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = frame.width, frame.height, pixels
    context.options = options
    context.time_base = frame.time_base or Fraction(1, 10)
    picture = frame.reformat(format=pixels)
    return b"".join(bytes(packet) for packet in (*context.encode(picture), *context.encode(None)))
