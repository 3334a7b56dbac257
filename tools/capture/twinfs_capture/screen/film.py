"""Frames into a film, or into files: what both a recording and a conversion write with."""

from __future__ import annotations

from fractions import Fraction
from types import TracebackType
from typing import IO, TYPE_CHECKING

from twinfs_capture.errors import CaptureError
from twinfs_capture.screen.targets import Target

if TYPE_CHECKING:
    from av.filter import Graph
    from av.video.frame import VideoFrame


class FilmWriter:
    """Writes what it is given at once, so that a kill costs little. Use as a context manager.

    Raises CaptureError where it cannot be written; what was written until then stays, and plays.
    """

    def __init__(
        self, target: Target, width: int, height: int, fps: float, *, to: IO[bytes] | None = None
    ) -> None:
        """`to`: a pipe to write to, instead of the target's path."""
        import av

        self._target = target
        self._time_base = 1 / Fraction(fps).limit_denominator(1000)
        self.frames = 0
        try:
            self._container = av.open(
                to or _url(target), "w", format=target.container, options=target.container_options
            )
            stream = self._container.add_stream(
                target.codec, rate=1 / self._time_base, options=target.codec_options
            )
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from None
        assert isinstance(stream, av.VideoStream)
        self._stream = stream
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, target.pixels
        self._stream.codec_context.time_base = self._time_base
        self._palette = _palette_graph(width, height, self._time_base) if target.pixels == "pal8" else None
        self._is_failed = False

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import av

        try:
            if not self._is_failed and self.frames:
                self._mux(None)
            self._container.close()
        except (av.FFmpegError, OSError) as trouble:
            if kind is None:
                raise self._failed(trouble) from None

    def write(self, frame: VideoFrame, slot: int) -> None:
        """The frame that is shown from slot / fps seconds on. Slots ascend."""
        import av

        try:
            if self._palette is not None:
                frame = _with_palette(self._palette, frame)
            elif frame.format.name != self._target.pixels:
                frame = frame.reformat(format=self._target.pixels)
            frame.pts, frame.time_base = slot, self._time_base
            # Or the encoder takes it from the grabbed picture and makes every frame a key frame.
            frame.pict_type = av.video.frame.PictureType.NONE
            self._mux(frame)
        except (av.FFmpegError, OSError) as error:
            self._is_failed = True
            raise self._failed(error) from None
        self.frames += 1

    def _mux(self, frame: VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def _failed(self, error: Exception) -> Exception:
        """A pipe's reader that went away is the caller's to judge."""
        if isinstance(error, BrokenPipeError):
            return error
        return CaptureError(
            f"{self._target.path} cannot be written: {getattr(error, 'strerror', None) or error}"
        )


def _url(target: Target) -> str:
    """ffmpeg takes what is before a colon for a protocol, but not in an absolute path."""
    return str(target.path.absolute())


def _palette_graph(width: int, height: int, time_base: Fraction) -> Graph:
    """256 colours chosen for each frame by itself: nothing has to wait for the film's end."""
    from av import VideoFormat
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=VideoFormat("bgra"), time_base=time_base)
    split, choose, use = (
        graph.add("split"),
        graph.add("palettegen", "stats_mode=single"),
        graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=5:diff_mode=rectangle"),
    )
    sink = graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(choose, 1, 0)
    choose.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    return graph


def _with_palette(graph: Graph, frame: VideoFrame) -> VideoFrame:
    graph.push(frame.reformat(format="bgra"))
    return graph.vpull()
