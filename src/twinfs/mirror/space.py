"""How much room a leg has, without waiting for a disk that hangs.

`status` is asked for by whoever wonders what is wrong, and regularly for metrics: it must answer just
when a disk does not.
"""

from __future__ import annotations

import errno
import os
import threading
from typing import Final
from weakref import WeakKeyDictionary

from twinfs.mirror.label import Leg

_PATIENCE_SECONDS: Final = 0.1


class _Gauge:
    """One leg's last known figures, and the look at it that is going on, if one is."""

    def __init__(self) -> None:
        self._known: os.statvfs_result | OSError = OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        self._is_looking = False
        self._seen = threading.Event()

    def read(self, fd: int) -> os.statvfs_result:
        """Now, or after a tenth of a second what was known before. OSError: the disk's, or ETIMEDOUT."""
        if not self._is_looking:
            self._is_looking = True
            self._seen.clear()
            # A descriptor of its own: the leg may be closed, and its number another's, before it comes back.
            threading.Thread(target=self._look, args=(os.dup(fd),), name="space", daemon=True).start()
            self._seen.wait(_PATIENCE_SECONDS)
        if isinstance(self._known, OSError):
            raise self._known.with_traceback(None)
        return self._known

    def _look(self, fd: int) -> None:
        try:
            self._known = os.fstatvfs(fd)
        except OSError as error:
            self._known = error
        self._is_looking = False
        self._seen.set()
        os.close(fd)


_gauges: WeakKeyDictionary[Leg, _Gauge] = WeakKeyDictionary()


def space_of(leg: Leg) -> os.statvfs_result:
    """statvfs(3) of the leg; figures of a moment ago where it does not answer. OSError as it says."""
    return _gauges.setdefault(leg, _Gauge()).read(leg.fd)
