"""Not faster than asked for, and out of the way of people."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_SHARE_WHEN_BUSY: Final = 0.25
"""Never nothing: a volume that is always busy would never be scrubbed."""

_LONGEST_PAUSE_SECONDS: Final = 1.0


class Pace:
    """Called before each piece of work; sleeps as long as it takes."""

    def __init__(
        self,
        max_rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`max_rate`: bytes a second, 0 for no limit."""
        self._max_rate = max_rate
        self._clock = clock
        self._sleep = sleep
        self._due_at = self._resumed_at = clock()
        self.is_busy = False

    def __call__(self, size: int) -> None:
        """About to read `size` bytes."""
        if self.is_busy:
            worked = self._clock() - self._resumed_at
            self._pause(min(worked * (1 / _SHARE_WHEN_BUSY - 1), _LONGEST_PAUSE_SECONDS))
        if self._max_rate:
            # Waited for before it is read: never ahead of the rate, and what was not used is not saved up.
            now = self._clock()
            self._due_at = max(self._due_at, now) + size / self._max_rate
            self._pause(self._due_at - now)
        self._resumed_at = self._clock()

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._sleep(seconds)
