"""Events on their way through one channel: in order, bounded, in a thread of their own."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from twinfs.daemon.channels import Channel
from twinfs.daemon.command import CommandError
from twinfs.model import Event, Notice, Severity
from twinfs.report import human
from twinfs.report.plain_text import readable

_log = logging.getLogger(__name__)

_MAX_WAITING: Final = 100


class Outbox:
    """`put` never blocks and never fails; what the channel does, or does not, is its own affair.

    Beyond 100 waiting events further ones are counted, and the count is told in their place. All
    events are in the log anyway.
    """

    def __init__(self, channel: Channel, *, max_waiting: int = _MAX_WAITING) -> None:
        self._channel = channel
        self._max_waiting = max_waiting
        self._waiting: deque[Notice] = deque()
        self._left_out = 0
        self._last_left_out: Notice | None = None
        self._is_closing = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.failed = 0

    @property
    def name(self) -> str:
        return self._channel.name

    def put(self, notice: Notice) -> None:
        if not self._channel.wants(notice):
            return
        with self._changed:
            if self._is_closing:
                return
            if len(self._waiting) >= self._max_waiting:
                self._left_out += 1
                self._last_left_out = notice
                return
            self._waiting.append(notice)
            self._changed.notify()
            if self._thread is None:
                # A daemon thread: one that hangs must not keep the process from ending.
                self._thread = threading.Thread(target=self._run, name=f"twinfs-{self.name}", daemon=True)
                self._thread.start()

    def close(self, patience_seconds: float) -> None:
        """Hand on what waits, then let go; what is not done when patience ends is ended by force."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
            thread = self._thread
        if thread is None:
            return
        thread.join(patience_seconds)
        if thread.is_alive():
            self._channel.kill()
            with self._changed:
                waiting = len(self._waiting) + self._left_out
            _log.warning(
                "%s: not handed on before the end: %s; see: twinfs events",
                self.name,
                human.count(waiting + 1, "event"),
            )
            self._waiting.clear()
            thread.join(1.0)

    def _run(self) -> None:
        while notices := self._next():
            try:
                self._channel.deliver(notices)
            except CommandError as error:
                self._note(notices, readable(str(error)))
            except Exception as error:  # noqa: BLE001  a bug here must not silence all that comes later
                _log.exception("%s", self.name)
                self._note(notices, f"internal error: {error}")
            self._pause()

    def _note(self, notices: Sequence[Notice], reason: str) -> None:
        self.failed += len(notices)
        event = notices[0].event
        _log.warning("volume %s: %s: %s was not handed on: %s", event.volume, self.name, event.kind, reason)

    def _next(self) -> list[Notice]:
        """What is to be handed on now, waiting for it; empty at the end."""
        with self._changed:
            while not self._waiting:
                if self._is_closing:
                    return []
                self._changed.wait()
            taken = [self._waiting.popleft() for _ in range(min(self._channel.at_once, len(self._waiting)))]
            if self._left_out and self._last_left_out is not None:
                # Those that found no room came after all that wait: their count takes the last place.
                self._waiting.append(_summary(self._last_left_out, self._left_out))
                self._left_out = 0
            return taken

    def _pause(self) -> None:
        """Let the channel's pause pass, unless all is ending."""
        deadline = time.monotonic() + self._channel.pause_seconds
        with self._changed:
            while not self._is_closing and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)


def _summary(last: Notice, count: int) -> Notice:
    message = f"{human.count(count, 'event')} came too fast to be told one by one"
    event = Event(last.event.time, last.event.volume, "events_left_out", message)
    return replace(last, event=event, severity=Severity.WARNING)
