"""Pictures of the screen at a fixed rate, in a thread of its own: the encoder cannot delay the next one."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Final

from twinfs_capture.errors import CaptureError
from twinfs_capture.screen.geometry import Area

if TYPE_CHECKING:
    import av
    from av.video.frame import VideoFrame

_LARGEST_QUEUE_BYTES: Final = 128 << 20
_MOST_WAITING: Final = 30
_MICROSECONDS: Final = 1_000_000


class Grabber:
    """Frames with their slots: slot n is n / fps seconds after the first. A slot without a frame was dropped.

    `window`: an X window's id; `area` is then the part of the screen that it covers.
    """

    def __init__(
        self, display: str, area: Area, fps: float, *, cursor: bool, window: int | None, slots: int | None
    ) -> None:
        self._fps = fps
        self._slots = slots
        waiting = max(2, min(_MOST_WAITING, _LARGEST_QUEUE_BYTES // (area.width * area.height * 4)))
        self._queue: queue.Queue[tuple[int, VideoFrame] | None] = queue.Queue(waiting)
        self._over = threading.Event()
        self._container = _open(display, area, fps, cursor=cursor, window=window)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.dropped = 0
        self.error: CaptureError | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends after the picture that is being taken."""
        self._over.set()

    def take(self) -> tuple[int, VideoFrame] | None:
        """The next picture and its slot; None when there are no more."""
        return self._queue.get()

    def close(self) -> None:
        self._over.set()
        while self._thread.is_alive():
            # The thread may be waiting for room in the queue.
            try:
                self._queue.get_nowait()
            except queue.Empty:
                pass
            self._thread.join(0.01)
        self._container.close()

    def _run(self) -> None:
        import av

        try:
            self._grab()
        except av.FFmpegError as error:
            self.error = CaptureError(f"the screen cannot be captured any more: {error.strerror}")
        self._queue.put(None)

    def _grab(self) -> None:
        first: int | None = None
        next_slot = 0
        for packet in self._container.demux(video=0):
            for frame in packet.decode():
                if self._over.is_set():
                    return
                taken = frame.pts or 0
                first = taken if first is None else first
                slot = round((taken - first) * self._fps / _MICROSECONDS)
                if self._slots is not None and slot >= self._slots:
                    self.dropped += self._slots - next_slot
                    return
                if slot < next_slot:
                    continue  # x11grab makes up for a delay with several at once
                self.dropped += slot - next_slot
                next_slot = slot + 1
                try:
                    self._queue.put_nowait((slot, frame))
                except queue.Full:
                    self.dropped += 1
                if next_slot == self._slots:
                    return


def _open(
    display: str, area: Area, fps: float, *, cursor: bool, window: int | None
) -> av.container.InputContainer:
    import av

    options = {
        "video_size": f"{area.width}x{area.height}",
        "framerate": f"{fps:g}",
        "draw_mouse": "1" if cursor else "0",
        # Or ffmpeg looks at two seconds of pictures to find out the rate that it was told.
        "fpsprobesize": "0",
    }
    if window is None:
        options |= {"grab_x": str(area.x), "grab_y": str(area.y)}
    else:
        options["window_id"] = str(window)
    try:
        return av.open(display, format="x11grab", options=options)
    except av.FFmpegError as error:
        raise CaptureError(f"the screen {display} cannot be captured: {error.strerror}") from error
