"""When the secondary gets a change, as the command line asks for it."""

from __future__ import annotations

from dataclasses import dataclass

from twinfs.daemon.durations import parse_interval, parse_time_of_day
from twinfs.errors import UsageError
from twinfs.model import Mode


@dataclass(frozen=True, slots=True)
class Timing:
    """A mode and, for batches, at most one clock; None leaves the clock as it is."""

    mode: Mode
    interval_seconds: float | None = None
    at: str | None = None


def parse_timing(mode: Mode | None, interval: str | None, at: str | None) -> Timing:
    """Check the three options together. Without a mode, a clock means batched. Raises UsageError."""
    if interval is not None and at is not None:
        raise UsageError("--interval and --at are two clocks; give one of them")
    has_clock = interval is not None or at is not None
    if mode is Mode.SYNC and has_clock:
        raise UsageError("--interval and --at are for batched mode; sync has no clock")
    return Timing(
        mode=mode or (Mode.BATCHED if has_clock else Mode.SYNC),
        interval_seconds=None if interval is None else parse_interval(interval),
        at=None if at is None else parse_time_of_day(at),
    )
