"""Noticing that the secondary has stopped answering.

A call may take long on a healthy disk: a flush of what a slow one has been given takes minutes. So the
age of a call only raises the suspicion. What decides is a small write beside it, and whether the device
has finished any request meanwhile. What answers the write, with whatever error, and gets on with its
work is slow and not hanging.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import trio

from twinfs.mirror.attachment import Attachment
from twinfs.mirror.core import Core
from twinfs.mirror.folders import TEMPORARY
from twinfs.mirror.lane import Job

_PROBE: Final = TEMPORARY + b"/probe"
_LONGEST_PAUSE_SECONDS: Final = 1.0
_SLACK_SECONDS: Final = 0.5
_COMPLETED: Final = (0, 4, 15)


class HangWatch:
    """Watches one core's secondary; `on_hang` is called once it did not answer for `timeout_seconds`."""

    def __init__(self, core: Core, timeout_seconds: float, on_hang: Callable[[], None]) -> None:
        self._core = core
        self._timeout_seconds = timeout_seconds
        self._on_hang = on_hang
        self._suspicion: _Suspicion | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(min(_LONGEST_PAUSE_SECONDS, self._timeout_seconds / 4))
            self._look()

    def _look(self) -> None:
        attachment = self._core.attachment
        half = self._timeout_seconds / 2
        suspicion = self._suspicion
        if suspicion is not None and suspicion.attachment is attachment:
            if time.monotonic() - suspicion.begun < half:
                return
            self._suspicion = None
            if not suspicion.probe.is_done or suspicion.is_standing_still() or self._is_read_lost(suspicion):
                self._on_hang()
        elif attachment.applier.root_fd >= 0 and attachment.busy_seconds() >= half:
            self._suspicion = _Suspicion(attachment)

    def _is_read_lost(self, suspicion: _Suspicion) -> bool:
        """No device tells whether it gets on, and a read of a few MiB takes as long as that. Writers of
        the same page wait for it, too."""
        return not suspicion.has_device and suspicion.attachment.reading_seconds() >= self._timeout_seconds


class _Suspicion:
    """A probe on its way, and what the device had done when it began."""

    def __init__(self, attachment: Attachment) -> None:
        root_fd = attachment.applier.root_fd
        self.attachment = attachment
        self.begun = time.monotonic()
        self._oldest = self.begun - attachment.busy_seconds()
        self._device = _statistics_of(attachment.device)
        self._done = self._requests_done()
        self.probe: Job[None] = attachment.start(partial(_touch, root_fd, is_durable=self._device is None))

    @property
    def has_device(self) -> bool:
        return self._device is not None

    def is_standing_still(self) -> bool:
        """The call that was waiting then still does, and the device has finished nothing since."""
        is_same = self.attachment.busy_seconds() >= time.monotonic() - self._oldest - _SLACK_SECONDS
        if self._device is None or not is_same:
            return False
        done = self._requests_done()
        return done is None or done == self._done

    def _requests_done(self) -> int | None:
        """Reads, writes and flushes; see Documentation/block/stat.rst in the kernel's source. None where
        there is no device, any more or at all."""
        if self._device is None:
            return None
        try:
            fields = [int(field) for field in self._device.read_text().split()]
        except OSError:
            return None
        return sum(fields[position] for position in _COMPLETED if position < len(fields))


def _statistics_of(device: int) -> Path | None:
    """The block device's counters; None for a file system that is not on one of its own (network, btrfs)."""
    path = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    return path if path.exists() else None


def _touch(root_fd: int, *, is_durable: bool) -> None:
    """A change of the file system, which one that is frozen does not answer either. Without a device to
    look at, also a flush: a server that answers everything else must not be waited for without end."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(_PROBE, flags, 0o600, dir_fd=root_fd)
    try:
        os.write(fd, b"?")
        if is_durable:
            os.fsync(fd)
    finally:
        os.close(fd)
        os.unlink(_PROBE, dir_fd=root_fd)
