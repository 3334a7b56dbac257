"""One event, to everybody: the volume's own log, the machine's log, a hook, mail; counted for metrics."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from twinfs.daemon.channels import channels_of
from twinfs.daemon.events import EventLog, new_event
from twinfs.daemon.outbox import Outbox
from twinfs.daemon.paths import Paths
from twinfs.daemon.syslog import SEVERITY
from twinfs.errors import TwinfsError
from twinfs.model import Notice, Severity, VolumeConfig, VolumeStatus
from twinfs.report.metrics import Counters
from twinfs.report.severity import severity_of

_log = logging.getLogger(__name__)

_FAREWELL_SECONDS: Final = 4.0


class Herald:
    """Tells events. Nothing that becomes of one on its way is the volume's trouble.

    `status` is asked for the state and what to do next; it may fail, as the disks may.
    """

    def __init__(
        self, paths: Paths, config: VolumeConfig, status: Callable[[], VolumeStatus] | None = None
    ) -> None:
        self._volume = config.name
        self._events = EventLog(paths.events_file(config.name), config.name)
        self._outboxes = [Outbox(channel) for channel in channels_of(config, paths)]
        self._status = status
        self._told: Counter[Severity] = Counter()
        self.on_told: Callable[[], None] = lambda: None

    def tell(self, kind: str, message: str) -> None:
        """One event. A full state disk must not take the volume down with it."""
        event = new_event(self._volume, kind, message)
        severity = severity_of(kind)
        self._told[severity] += 1
        # Always an info in our own log: what is a disk's trouble is not twinfs' error.
        _log.info("volume %s: %s: %s", self._volume, kind, event.message, extra={SEVERITY: severity})
        try:
            self._events.add(event)
        except OSError as error:
            _log.error("an event could not be written: %s", error)
        if self._outboxes:
            status = self._status_now()
            notice = Notice(event, severity)
            if status is not None:
                notice = Notice(event, severity, status.state, status.action)
            for outbox in self._outboxes:
                outbox.put(notice)
        self.on_told()

    def counters(self) -> Counters:
        return Counters(dict(self._told), {outbox.name: outbox.failed for outbox in self._outboxes})

    def close(self) -> None:
        """Let what waits go out, for four seconds at most; blocks."""
        deadline = time.monotonic() + _FAREWELL_SECONDS
        for outbox in self._outboxes:
            outbox.close(max(0.1, deadline - time.monotonic()))

    def _status_now(self) -> VolumeStatus | None:
        if self._status is None:
            return None
        try:
            return self._status()
        except (OSError, TwinfsError) as error:
            _log.info("volume %s: its state is not known: %s", self._volume, error)
            return None
