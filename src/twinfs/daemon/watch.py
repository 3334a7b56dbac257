"""While a volume is mounted: its figures into the metrics file, and a look whether it needs a person."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import trio

from twinfs import __version__
from twinfs.daemon.herald import Herald
from twinfs.daemon.reminders import Reminders
from twinfs.daemon.whole_file import write_whole
from twinfs.errors import TwinfsError
from twinfs.model import VolumeConfig, VolumeStatus
from twinfs.report.metrics import metrics_text

_log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 30.0
_WRITE_SECONDS: Final = 15.0
_REWRITE_SECONDS: Final = 60.0
"""Written anew even when nothing has changed: the file's age tells that the daemon lives."""

_SETTLE_SECONDS: Final = 1.0
"""After an event: several of them make one new file."""

_FAREWELL_SECONDS: Final = 2.0


class Watch:
    """Every few seconds, and after each event. Its own failures are logged and change nothing."""

    def __init__(
        self,
        config: VolumeConfig,
        status: Callable[[], Awaitable[VolumeStatus]],
        herald: Herald,
        reminders: Reminders,
    ) -> None:
        self._volume = config.name
        self._path = None if config.metrics_file is None else Path(config.metrics_file)
        self._status = status
        self._herald = herald
        self._reminders = reminders
        # Not one of trio's common ones: a disk that hangs may have taken all of those.
        self._own_thread = trio.CapacityLimiter(1)
        self._woken = trio.Event()
        self._written = ""
        self._written_at = float("-inf")
        self._trouble = ""
        herald.on_told = self._wake

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._remind)
            if self._path is not None:
                nursery.start_soon(self._keep_written)

    async def _remind(self) -> None:
        while True:
            if (status := await self._status_now()) is not None:
                self._reminders.look(status)
            await trio.sleep(_LOOK_SECONDS)

    async def _keep_written(self) -> None:
        while True:
            self._woken = trio.Event()
            if (status := await self._status_now()) is not None:
                await self._write(status)
            with trio.move_on_after(_WRITE_SECONDS):
                await self._woken.wait()
                await trio.sleep(_SETTLE_SECONDS)

    async def finish(self) -> None:
        """The volume is not mounted any more: the file says so, and nothing else that would grow old."""
        with trio.move_on_after(_FAREWELL_SECONDS):
            await self._write(None)

    def _wake(self) -> None:
        self._woken.set()

    async def _status_now(self) -> VolumeStatus | None:
        try:
            return await self._status()
        except (OSError, TwinfsError) as error:
            # A disk that does not say how much is free. The volume has its own events about that.
            _log.info("volume %s: its state is not known: %s", self._volume, error)
            return None

    async def _write(self, status: VolumeStatus | None) -> None:
        if self._path is None:
            return
        text = metrics_text(self._volume, status, self._herald.counters(), __version__)
        if text == self._written and trio.current_time() - self._written_at < _REWRITE_SECONDS:
            return
        path, trouble = self._path, ""
        try:
            # In a thread that may be left behind: the file may be on a disk that hangs.
            work = partial(write_whole, path, text.encode(), 0o644)
            await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._own_thread)
            self._written, self._written_at = text, trio.current_time()
        except OSError as error:
            trouble = error.strerror or str(error)
            if trouble != self._trouble:
                _log.warning("metrics_file %s: %s", path, trouble)
        self._trouble = trouble
