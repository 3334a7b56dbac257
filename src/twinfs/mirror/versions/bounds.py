"""How much is kept of what changes all the time: a program may write the same file once a second."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

APART_SECONDS: Final = 60.0
"""Between two versions of one file's content, for each MiB that it has: at most a MiB a minute and file."""
_MIB: Final = 1 << 20
_REMEMBERED: Final = 4096


class Bounds:
    """By path, for the paths that were in use lately; after a start everything may be kept again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[bytes, float] = OrderedDict()
        self._born: OrderedDict[bytes, float] = OrderedDict()

    def born(self, path: bytes) -> None:
        _note(self._born, path, self._clock())

    def moved(self, source: bytes, path: bytes) -> None:
        """A temporary that is renamed into place is as young there."""
        born = self._born.pop(source, None)
        self._born.pop(path, None)
        if born is not None:
            _note(self._born, path, born)

    def kept(self, path: bytes) -> None:
        _note(self._kept, path, self._clock())

    def is_content_due(self, path: bytes, size_bytes: int) -> bool:
        """Whether a version of a file that stays is to be made."""
        apart = APART_SECONDS * max(1.0, size_bytes / _MIB)
        return self._clock() - self._kept.get(path, float("-inf")) >= apart

    def is_object_due(self, path: bytes) -> bool:
        """Whether what goes from the path is to be kept: all but what came a moment ago and had a
        predecessor kept a moment ago."""
        now = self._clock()
        return not all(
            now - known.get(path, float("-inf")) < APART_SECONDS for known in (self._born, self._kept)
        )


def _note(known: OrderedDict[bytes, float], path: bytes, moment: float) -> None:
    known[path] = moment
    known.move_to_end(path)
    if len(known) > _REMEMBERED:
        known.popitem(last=False)
