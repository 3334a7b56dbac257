"""What needs a person is told when it lasts, and again every day until it is over.

What was told when is kept in a file, so that a daemon that is started again does not begin anew. Within
one run the kernel's clock since boot counts: a jump of the wall clock neither silences nor repeats.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from twinfs.daemon.whole_file import write_whole
from twinfs.model import VolumeStatus
from twinfs.report.attention import attention_of

_log = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 60.0
"""A disk that was away for a moment has its events; a person is needed when it stays away."""

_AGAIN_SECONDS: Final = 86400.0
_RETURNED_SECONDS: Final = 3600.0
"""At the soonest, for a trouble that was over and has come back: a bad cable would tell all day."""

_MAX_KEYS: Final = 32


class _File(msgspec.Struct):
    """`told`: the trouble's key to seconds since 1970. `standing`: the key of the one that is not over."""

    told: dict[str, float] = msgspec.field(default_factory=dict)
    standing: str | None = None


def _since_boot() -> float:
    """Goes on while the machine sleeps, unlike the monotonic clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Reminders:
    """Looks at the status every now and then, and calls `tell(kind, message)` when it is time."""

    def __init__(
        self,
        path: Path,
        tell: Callable[[str, str], None],
        *,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = _since_boot,
    ) -> None:
        self._path = path
        self._tell = tell
        self._wall_clock = wall_clock
        self._clock = clock
        kept = _load(path)
        # A time that lies in the future was written before the wall clock was set back: it counts as now.
        self._told = {key: clock() - max(0.0, wall_clock() - then) for key, then in kept.told.items()}
        self._standing = kept.standing
        self._seen: str | None = None
        self._seen_since = clock()

    def look(self, status: VolumeStatus) -> None:
        """Tell, if it is time to."""
        now = self._clock()
        attention = attention_of(status)
        key = None if attention is None else attention.key
        if key != self._seen:
            self._seen, self._seen_since = key, now
        if now - self._seen_since < _GRACE_SECONDS:
            return
        if attention is None:
            self._over()
        elif self._is_due(attention.key, _RETURNED_SECONDS if self._standing is None else _AGAIN_SECONDS):
            self._tell("needs_attention", attention.text)
            self._keep(attention.key, attention.key)

    def is_new(self, key: str) -> bool:
        """Whether this has not been told in the last hour; from now on it has."""
        if not self._is_due(key, _RETURNED_SECONDS):
            return False
        self._keep(key, self._standing)
        return True

    def _is_due(self, key: str, pause_seconds: float) -> bool:
        last = self._told.get(key)
        return last is None or self._clock() - last >= pause_seconds

    def _over(self) -> None:
        if self._standing is not None:
            self._tell("attention_over", "the volume needs nobody any more")
            self._keep(None, None)

    def _keep(self, told: str | None, standing: str | None) -> None:
        """Remember, on disk too. Where that cannot be written, a new start tells once too often."""
        now = self._clock()
        if told is not None:
            self._told[told] = now
        self._standing = standing
        recent = sorted(self._told.items(), key=lambda item: item[1])[-_MAX_KEYS:]
        self._told = {key: then for key, then in recent if now - then < _AGAIN_SECONDS}
        wall = {key: self._wall_clock() - (now - then) for key, then in self._told.items()}
        try:
            write_whole(self._path, msgspec.json.encode(_File(wall, standing)), 0o600)
        except OSError as error:
            _log.warning("%s: %s", self._path, error.strerror)


def _load(path: Path) -> _File:
    """What was kept; nothing when there is nothing, or nothing that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        return _File()
    except (OSError, msgspec.DecodeError) as error:
        _log.warning("%s: %s; what was told is not known", path, error)
        return _File()
