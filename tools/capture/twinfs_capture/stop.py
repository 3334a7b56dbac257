"""Ending in an orderly way: the first signal asks for it, the second one does not wait."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from twinfs.cli.talk import say
from twinfs_capture.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Asked for by a signal, or by a thread that cannot go on; looked at between two reads."""

    def __init__(
        self,
        words: str = "ending: what was read is being made durable (once more ends at once)",
        on_ask: Callable[[], None] | None = None,
    ) -> None:
        self._words = words
        self._on_ask = on_ask
        self._event = threading.Event()

    def ask(self) -> None:
        self._event.set()

    @property
    def is_asked(self) -> bool:
        return self._event.is_set()

    def sleep(self, seconds: float) -> None:
        """Shorter when asked to stop."""
        self._event.wait(seconds)

    def check(self) -> None:
        """Raises Interrupted when asked to stop."""
        if self._event.is_set():
            raise Interrupted("interrupted")

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Main thread only. A second signal ends as a kill would: the map on disk is true at any time."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            if self._event.is_set():
                os._exit(Interrupted.exit_code)
            self._event.set()
            if self._on_ask is not None:
                self._on_ask()
            say(self._words)

        previous = {number: signal.signal(number, handle) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
