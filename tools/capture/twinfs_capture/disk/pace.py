"""How much to read at once, how far to skip, and when single sectors are worth it."""

from __future__ import annotations

from typing import Final

from twinfs_capture.disk.pipeline import CHUNK_BYTES

CLUSTER_BYTES: Final = 64 * 1024
"""What is given up at once in the first passes when a read fails; also the first skip. As ddrescue's."""

_TRUST_BYTES: Final = 1 << 20
_LARGEST_SKIP_BYTES: Final = 1 << 30
_SLOW_SECONDS: Final = 0.5
_SLOW_PART: Final = 10
_STRIDE_SECTORS: Final = 8
_CHEAP_FAILURE: Final = 4.0


class BulkPace:
    """For the copying passes: large reads, small ones near trouble, and skips that double while it lasts."""

    def __init__(self, size_bytes: int) -> None:
        self._largest_skip = min(max(size_bytes // 100, CLUSTER_BYTES), _LARGEST_SKIP_BYTES)
        self._skip = 0
        self._distrust = 0
        self._rate = 0.0

    @property
    def read_bytes(self) -> int:
        return CLUSTER_BYTES if self._distrust > 0 else CHUNK_BYTES

    def went_well(self, length: int, seconds: float) -> int:
        """How far to skip although it could be read: 0, unless the disk has become slow here."""
        self._distrust = max(0, self._distrust - length)
        rate = length / max(seconds, 1e-6)
        is_slow = seconds >= _SLOW_SECONDS and self._rate > 0 and rate < self._rate / _SLOW_PART
        if is_slow:
            return self._next_skip()
        self._rate = rate if self._rate == 0 else 0.9 * self._rate + 0.1 * rate
        self._skip = 0
        return 0

    def be_careful(self) -> None:
        """A large read failed: find out where with small ones."""
        self._distrust = _TRUST_BYTES

    def failed(self) -> int:
        """How far to skip."""
        self._distrust = _TRUST_BYTES
        return self._next_skip()

    def _next_skip(self) -> int:
        self._skip = min(max(2 * self._skip, CLUSTER_BYTES), self._largest_skip)
        return self._skip


class SectorPace:
    """For what is known to hold bad sectors: one sector a read, or several where failing costs little.

    A disk that retries for seconds makes every failing read dear: each bad sector should be met once. Where
    an error comes as quickly as data does, several good sectors in one read save more than a failure costs.
    """

    def __init__(self, sector_bytes: int) -> None:
        self._sector = sector_bytes
        self._good_seconds = 0.0
        self._failed_seconds = 0.0

    @property
    def read_bytes(self) -> int:
        is_cheap = self._failed_seconds <= _CHEAP_FAILURE * self._good_seconds or self._good_seconds == 0
        return self._sector * _STRIDE_SECTORS if is_cheap else self._sector

    def took(self, seconds: float, *, failed: bool) -> None:
        if failed:
            self._failed_seconds = _mean(self._failed_seconds, seconds)
        else:
            self._good_seconds = _mean(self._good_seconds, seconds)


def _mean(before: float, now: float) -> float:
    return now if before == 0 else 0.9 * before + 0.1 * now
