"""The file that keeps what a guest overwrites while its disk is looked at.

It has no name, so the kernel takes it away with the last process that has it open. It takes as much room as
the guest has overwritten of its disk since, at most the size of the disk.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from typing import IO, Final

from twinfs.errors import ImageError

_LOOK_SECONDS: Final = 1.0
_KEPT_BYTES: Final = 1 << 30
_KEPT_PART: Final = 20
"""A twentieth of the file system, and not more than _KEPT_BYTES, is left to others."""


def make(size_bytes: int) -> IO[bytes]:
    """In TMPDIR, else /var/tmp. Raises ImageError."""
    directory = os.environ.get("TMPDIR") or "/var/tmp"
    try:
        file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  the caller closes it
        file.truncate(size_bytes)
    except OSError as error:
        raise ImageError(f"{directory}: no room for a snapshot: {error.strerror}") from None
    return file


def is_scarce(fd: int) -> bool:
    """Whether the file system that the file lies on is nearly full."""
    found = os.fstatvfs(fd)
    total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return free < min(_KEPT_BYTES, total // _KEPT_PART)


class Watch:
    """Calls `give_up`, once and in a thread of its own, when the room is scarce. A context manager."""

    def __init__(self, fd: int, give_up: Callable[[], None]) -> None:
        self._fd = fd
        self._give_up = give_up
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            if is_scarce(self._fd):
                self._give_up()
                return

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
