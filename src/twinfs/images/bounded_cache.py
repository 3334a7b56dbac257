"""What was read lately, up to a bound: an image must not decide how much memory its reader takes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """Keeps values until their costs add up to more than the limit, then forgets the longest unused.

    Safe to use from threads. What costs more than the limit by itself is not kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._total = 0
        self._kept: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: Key, value: Value, cost: int = 1) -> None:
        with self._lock:
            replaced = self._kept.pop(key, None)
            if replaced is not None:
                self._total -= replaced[1]
            if cost > self._limit:
                return
            self._kept[key] = (value, cost)
            self._total += cost
            while self._total > self._limit:
                _, (_, freed) = self._kept.popitem(last=False)
                self._total -= freed
