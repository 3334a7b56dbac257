"""The image that is written: zeros become holes, and a full disk is waited out."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

from twinfs.cli.talk import say
from twinfs.fsio.syscalls import punch_hole
from twinfs_capture.disk.buffers import Chunk
from twinfs_capture.errors import CaptureError
from twinfs_capture.stop import Stop

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_POLL_SECONDS = 0.5
_REMIND_SECONDS = 60.0


class Room:
    """What happens when a disk is full: wait until there is room again, and say so."""

    def __init__(self, stop: Stop, *, may_wait: bool) -> None:
        self._stop = stop
        self._may_wait = may_wait
        self.is_waiting = False

    def insist(self, action: Callable[[], int], path: Path) -> int:
        """What `action` returns once it does not end with a full disk. Raises Interrupted, CaptureError."""
        said = 0.0
        while True:
            try:
                result = action()
            except OSError as error:
                if error.errno not in FULL:
                    raise
                if not self._may_wait:
                    raise CaptureError(
                        f"no room for {path}: {error.strerror}\n  make room, then go on with --resume"
                    ) from error
                said = self._wait(path, error, said)
                continue
            if self.is_waiting:
                self.is_waiting = False
                say(f"there is room for {path} again: going on")
            return result

    def _wait(self, path: Path, error: OSError, said: float) -> float:
        now = time.monotonic()
        if not self.is_waiting or now - said >= _REMIND_SECONDS:
            say(
                f"no room for {path}: {error.strerror}. Waiting: make room and it goes on by itself;"
                " Ctrl-C ends, --resume goes on later"
            )
            said = now
        self.is_waiting = True
        self._stop.sleep(_POLL_SECONDS)
        self._stop.check()
        return said


class ImageWriter:
    """Writes chunks at their places. `is_fresh`: what was not written yet reads as zeros."""

    def __init__(
        self, path: Path, fd: int, room: Room, *, is_sparse: bool, is_fresh: bool, is_device: bool
    ) -> None:
        self.path = path
        self.fd = fd
        self._room = room
        self._is_sparse = is_sparse and not is_device
        self._is_fresh = is_fresh
        self.is_device = is_device

    def write(self, chunk: Chunk) -> None:
        """Returns when all of the chunk is in the page cache. Raises CaptureError, Interrupted."""
        if not self._is_sparse:
            self._write_all(chunk.view[: chunk.length], chunk.offset_bytes)
            return
        position = 0
        for start, end in chunk.data_runs():
            self._leave_zeros(chunk.offset_bytes + position, start - position)
            self._write_all(chunk.view[start:end], chunk.offset_bytes + start)
            position = end
        self._leave_zeros(chunk.offset_bytes + position, chunk.length - position)

    def clear(self, start: int, end: int) -> None:
        """Zeros in [start, end), for what could not be read, where something else may have been before."""
        if self._is_fresh or start >= end:
            return
        if not self.is_device:
            self._leave_zeros(start, end - start)
        else:
            self._write_zeros(start, end - start)

    def _leave_zeros(self, offset_bytes: int, length: int) -> None:
        """A fresh image has a hole there already; another one may hold what was there before."""
        if length <= 0 or self._is_fresh:
            return
        try:
            punch_hole(self.fd, offset_bytes, length)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise self._failed(error) from error
            self._write_zeros(offset_bytes, length)

    def _write_zeros(self, offset_bytes: int, length: int) -> None:
        zeros = memoryview(bytes(min(length, 1 << 20)))
        position = 0
        while position < length:
            part = zeros[: length - position]
            self._write_all(part, offset_bytes + position)
            position += len(part)

    def _write_all(self, data: memoryview, offset_bytes: int) -> None:
        done = 0
        while done < len(data):

            def write(begin: int = done) -> int:
                return os.pwrite(self.fd, data[begin:], offset_bytes + begin)

            try:
                done += self._room.insist(write, self.path)
            except OSError as error:
                raise self._failed(error) from error

    def _failed(self, error: OSError) -> CaptureError:
        if error.errno == errno.EFBIG:
            return CaptureError(
                f"{self.path}: the file system there cannot hold a file so large\n"
                "  choose another one for DEST"
            )
        return CaptureError(
            f"{self.path} cannot be written: {error.strerror}\n"
            "  what the map says is in the image; go on with --resume when the disk works"
        )
