"""How long a leg will take for one request more, from what its last ones took."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final

PRIMARY: Final = 0
SECONDARY: Final = 1

SEEK_BYTES: Final = 1 << 20
"""What a disk could read in the time that moving its heads takes: the cost of a request that does not
go on where the last one ended."""

_MEMORY: Final = 0.9
_FORGETTING_SECONDS: Final = 5.0
"""A leg that is not asked is believed to be twice as fast every so often: else one slow moment would keep
it out for ever."""
_KEPT: Final = 256
_ENOUGH: Final = 32
_HEDGE_FACTOR: Final = 3.0
_LEAST_PATIENCE_SECONDS: Final = 0.05
_UNKNOWN_PATIENCE_SECONDS: Final = 1.0
_SHUNNED_SECONDS: Final = 30.0


class LegMeter:
    """Of one leg. `begin` before a request is given to a thread, `end` in that thread.

    A cost is bytes, with SEEK_BYTES for a seek. The time between two ends while the leg is busy is what it
    takes for the later one, so the figure is right whether it serves one at a time or several.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting_cost = 0.0
        self._busy_seconds = 0.0
        self._done_cost = 0.0
        self._last_end = time.monotonic()
        self._waits: deque[float] = deque(maxlen=_KEPT)
        self._shunned_until = 0.0
        self.waiting = 0

    def begin(self, cost: float) -> float:
        """Returns what `end` wants to know: the time."""
        with self._lock:
            self.waiting += 1
            self._waiting_cost += cost
        return time.monotonic()

    def end(self, begun: float, cost: float, *, is_wait_typical: bool = True) -> None:
        """`is_wait_typical`: of a caller's request, not of a large one made ahead."""
        now = time.monotonic()
        with self._lock:
            self.waiting -= 1
            self._waiting_cost -= cost
            self._busy_seconds = self._busy_seconds * _MEMORY + now - max(begun, self._last_end)
            self._done_cost = self._done_cost * _MEMORY + cost
            self._last_end = now
            if is_wait_typical:
                self._waits.append(now - begun)

    def expected_seconds(self, cost: float) -> float:
        """Until a request of that cost would be answered; 0.0 where nothing was measured yet."""
        with self._lock:
            if not self._done_cost:
                return 0.0
            per_cost = self._busy_seconds / self._done_cost
            if not self.waiting:
                idle_seconds = time.monotonic() - self._last_end
                per_cost *= 0.5 ** (idle_seconds / _FORGETTING_SECONDS)
            return per_cost * (self._waiting_cost + cost)

    def pace_seconds(self, cost: float) -> float:
        """What a request of that cost takes, without what waits before it; 0.0 where nothing was measured."""
        with self._lock:
            return self._busy_seconds / self._done_cost * cost if self._done_cost else 0.0

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
