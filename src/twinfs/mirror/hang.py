"""Noticing that the secondary has stopped answering.

A call may take long on a healthy disk: a flush of what a slow one has been given takes minutes. So the
age of a call only raises the suspicion; a small write beside it decides. What answers that, with
whatever error, is slow and not hanging.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from twinfs.mirror.attachment import Attachment
from twinfs.mirror.copier import TEMPORARY
from twinfs.mirror.core import Core
from twinfs.mirror.lane import Job

_PROBE: Final = TEMPORARY + b"/probe"
_LONGEST_PAUSE_SECONDS: Final = 1.0


class HangWatch:
    """Watches one core's secondary; `on_hang` is called once it did not answer for `timeout_seconds`."""

    def __init__(self, core: Core, timeout_seconds: float, on_hang: Callable[[], None]) -> None:
        self._core = core
        self._timeout_seconds = timeout_seconds
        self._on_hang = on_hang
        self._probe: Job[None] | None = None
        self._probed: Attachment | None = None
        self._probe_begun = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(min(_LONGEST_PAUSE_SECONDS, self._timeout_seconds / 4))
            self._look()

    def _look(self) -> None:
        attachment = self._core.attachment
        half = self._timeout_seconds / 2
        if attachment.is_given_up or attachment.applier.root_fd < 0:
            return
        if self._probe is not None and self._probed is attachment:
            if self._probe.is_done:
                self._probe = None
            elif time.monotonic() - self._probe_begun >= half:
                self._probe = None
                self._on_hang()
        elif attachment.busy_seconds() >= half:
            self._probed = attachment
            self._probe_begun = time.monotonic()
            self._probe = attachment.start(partial(_touch, attachment.applier.root_fd))


def _touch(root_fd: int) -> None:
    """A change of the file system, which one that is frozen does not answer either."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    os.close(os.open(_PROBE, flags, 0o600, dir_fd=root_fd))
    os.unlink(_PROBE, dir_fd=root_fd)
