"""Keeping the map on disk: never ahead of the image, never torn.

Order, for each save: the map's text is taken, the image is made durable, then the map replaces the old one
(temporary, fsync, rename, fsync of the directory). A range that a map on disk calls finished was written
before its text was taken, so it is durable in the image, whenever the power fails.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
import time
from pathlib import Path

from twinfs import __version__
from twinfs.errors import ImageError
from twinfs.fsio.durable import replace_file
from twinfs.images.rescue_map import RescueMap, parse, render
from twinfs_capture.disk.image import FULL, Room
from twinfs_capture.errors import CaptureError


def load(path: Path) -> RescueMap:
    """Raises CaptureError where it cannot be read, or is no map."""
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise CaptureError(f"map {path}: {error.strerror}") from error
    except ImageError as error:
        raise CaptureError(
            f"{path}: {error}\n  give the right one with --map, or move it away to begin anew"
        ) from error


class MapFile:
    """Saves a map that other threads change under `lock`; one thread at a time saves."""

    def __init__(self, path: Path, rescue_map: RescueMap, lock: threading.Lock, image_fd: int) -> None:
        self.path = path
        self.error: CaptureError | None = None
        self._lost: CaptureError | None = None
        self._map = rescue_map
        self._lock = lock
        self._image_fd = image_fd
        self._saving = threading.Lock()
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None
        self._comments = _comments()

    @staticmethod
    def write_first(path: Path, rescue_map: RescueMap) -> None:
        """For an image that does not exist yet. Durable when it returns; raises CaptureError."""
        try:
            _replace(path, render(rescue_map, _comments()))
        except OSError as error:
            raise CaptureError(f"the map {path} cannot be written: {error.strerror}") from error

    def save(self) -> None:
        """Raises OSError (a full disk among them), CaptureError where the image is not durable."""
        with self._saving:
            if self._lost is not None:
                raise self._lost
            with self._lock:
                text = render(self._map, (*self._comments, f"Current time: {_now()}"))
            try:
                os.fdatasync(self._image_fd)
            except OSError as error:
                # Which writes were lost is not known, and an fsync that succeeds later proves nothing; see
                # "Handling fsync errors" in fsync(2). So nothing newer is ever claimed.
                self._lost = CaptureError(
                    f"the image could not be made durable: {error.strerror}\n"
                    f"  {self.path} holds what was durable before; go on with --resume"
                )
                raise self._lost from error
            _replace(self.path, text)

    def save_at_last(self, room: Room) -> None:
        """Waits for room where there is none."""

        def save() -> int:
            self.save()
            return 0

        try:
            room.insist(save, self.path)
        except OSError as error:
            raise CaptureError(f"the map {self.path} cannot be written: {error.strerror}") from error

    def start_saving(self, interval_seconds: float) -> None:
        """Save at intervals, in a thread of its own, so that reading and writing go on meanwhile."""
        self._thread = threading.Thread(target=self._run, args=(interval_seconds,), daemon=True)
        self._thread.start()

    def stop_saving(self) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, interval_seconds: float) -> None:
        while not self._is_over.wait(interval_seconds):
            try:
                self.save()
            except CaptureError as error:
                self.error = error
                return
            except OSError as error:
                # The old map stays; a full disk is waited out by the writer, and the next save may succeed.
                if error.errno not in FULL:
                    self.error = CaptureError(f"the map {self.path} cannot be written: {error.strerror}")
                    return


def _replace(path: Path, text: str) -> None:
    dir_fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        replace_file(dir_fd, os.fsencode(path.name), text.encode(errors="surrogateescape"), mode=0o644)
    finally:
        os.close(dir_fd)


def _comments() -> tuple[str, ...]:
    return (
        f"Mapfile. Created by twinfs-capture {__version__}",
        f"Command line: {shlex.join(sys.argv)}",
        f"Start time:   {_now()}",
    )


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
