"""How long a leg will take for one request more, from what its last ones took."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

PRIMARY: Final = 0
SECONDARY: Final = 1

SEEK_BYTES: Final = 1 << 20
"""What a disk can read in the time that moving its heads takes, more or less."""

_MEMORY: Final = 0.9
_FORGETTING_SECONDS: Final = 1.0
"""A leg that is not asked is believed to be twice as fast every so often: else one slow moment would keep
it out for ever."""
_KEPT: Final = 256
_ENOUGH: Final = 32
_FIRST_ONES: Final = 4
"""So many are needed before a leg counts as slow: the first may have had to read where the file is."""
_HEDGE_FACTOR: Final = 3.0
_LEAST_PATIENCE_SECONDS: Final = 0.05
_UNKNOWN_PATIENCE_SECONDS: Final = 1.0
_SHUNNED_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request on its way. `is_made_ahead`: a large one, for which nobody waits as for others."""

    begun: float
    size: int
    is_seek: bool
    service_seconds: float
    is_made_ahead: bool


class LegMeter:
    """Of one leg. `begin` before a request is given to a thread, `end` in that thread.

    The time between two ends while the leg is busy is what it takes for the later one, so the figure is
    right whether it serves one at a time or several. Requests that go on where the last one ended are
    measured apart from those that do not (`is_seek`).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting_seconds = 0.0
        self._busy_seconds = [0.0, 0.0]
        self._done_cost = [0.0, 0.0]
        self._last_end = time.monotonic()
        self._measured = 0
        self._waits: deque[float] = deque(maxlen=_KEPT)
        self._shunned_until = 0.0
        self.waiting = 0

    def begin(self, size: int, *, is_seek: bool, is_made_ahead: bool = False) -> Asked:
        with self._lock:
            service_seconds = self._service(size, is_seek=is_seek)
            self.waiting += 1
            self._waiting_seconds += service_seconds
        return Asked(time.monotonic(), size, is_seek, service_seconds, is_made_ahead)

    def end(self, asked: Asked, *, is_measured: bool = True) -> None:
        """`is_measured`: the disk did something for it."""
        now = time.monotonic()
        with self._lock:
            self.waiting -= 1
            self._waiting_seconds = self._waiting_seconds - asked.service_seconds if self.waiting else 0.0
            if is_measured:
                kind, busy_seconds = asked.is_seek, now - max(asked.begun, self._last_end)
                self._busy_seconds[kind] = self._busy_seconds[kind] * _MEMORY + busy_seconds
                self._done_cost[kind] = self._done_cost[kind] * _MEMORY + _cost(asked.size, asked.is_seek)
                self._last_end = now
                self._measured += 1
            if not asked.is_made_ahead:
                self._waits.append(now - asked.begun)

    def _service(self, size: int, *, is_seek: bool) -> float:
        for kind in (is_seek, not is_seek):
            if self._done_cost[kind]:
                return self._busy_seconds[kind] / self._done_cost[kind] * _cost(size, kind)
        return 0.0

    def service_seconds(self, size: int, *, is_seek: bool) -> float:
        """What it takes for one, without what waits before it; 0.0 where nothing was measured yet."""
        with self._lock:
            return self._service(size, is_seek=is_seek)

    def expected_seconds(self, size: int, *, is_seek: bool) -> float:
        """Until one request more would be answered; 0.0 where nothing was measured yet."""
        with self._lock:
            if self._measured < _FIRST_ONES:
                return 0.0
            service_seconds = self._service(size, is_seek=is_seek)
            if not self.waiting:
                idle_seconds = time.monotonic() - self._last_end
                service_seconds *= 0.5 ** (idle_seconds / _FORGETTING_SECONDS)
            return self._waiting_seconds + service_seconds

    @property
    def waiting_seconds(self) -> float:
        """Until all that waits would be answered."""
        return self._waiting_seconds

    def patience_seconds(self) -> float:
        """How long one waits before the other leg is asked, too: three times this leg's 99th percentile."""
        with self._lock:
            if len(self._waits) < _ENOUGH:
                return _UNKNOWN_PATIENCE_SECONDS
            waits = sorted(self._waits)
            return max(_LEAST_PATIENCE_SECONDS, _HEDGE_FACTOR * waits[len(waits) * 99 // 100])

    def shun(self) -> bool:
        """After an error: it is not asked for a while. False where that was so already."""
        was_shunned = self.is_shunned
        self._shunned_until = time.monotonic() + _SHUNNED_SECONDS
        return not was_shunned

    @property
    def is_shunned(self) -> bool:
        return time.monotonic() < self._shunned_until


def _cost(size: int, is_seek: bool) -> int:
    """In bytes. So that requests of all sizes can be compared."""
    return size + SEEK_BYTES if is_seek else size
