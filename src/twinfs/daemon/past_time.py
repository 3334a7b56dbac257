"""A moment in the past, as people write one: local time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from twinfs.errors import UsageError

_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)(?:\s+ago)?")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DAY = re.compile(r"(today|yesterday)(?:[ ,T]+(.+))?")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?")
_UNDERSTOOD = (
    "understood are: 'yesterday 18:00', 'today 9:30', '18:00' (when it was that last), '2026-11-27 18:00',"
    " '2026-11-27T18:00:00+01:00', and how long ago: '90m', '3h', '2d', '1w'"
)


def parse_past(text: str, now: datetime) -> int:
    """Nanoseconds since the epoch. `now` has no time zone: it is local time, as is a text without one.

    UsageError: not understood, or not in the past.
    """
    found = _parse(text.strip(), now)
    if found is None:
        raise UsageError(f"--at: {text!r} is not a time; {_UNDERSTOOD}")
    moment, extra_ns = found
    # Not by a float: what `versions` prints is to be found again to the microsecond.
    seconds = int(moment.replace(microsecond=0).timestamp())
    if moment.timestamp() > now.timestamp():
        raise UsageError(f"--at: {text!r} is in the future")
    return seconds * 10**9 + moment.microsecond * 1000 + extra_ns


def _parse(text: str, now: datetime) -> tuple[datetime, int] | None:
    if match := _AGO.fullmatch(text):
        try:
            return now - timedelta(seconds=float(match[1]) * _SECONDS[match[2]]), 0
        except OverflowError:
            return None
    if match := _DAY.fullmatch(text.lower()):
        day = now - timedelta(days=match[1] == "yesterday")
        return _at_clock(day, match[2] or "0:00")
    if _CLOCK.fullmatch(text):
        found = _at_clock(now, text)
        if found is not None and found[0] > now:
            found = _at_clock(now - timedelta(days=1), text)
        return found
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment, 0


def _at_clock(day: datetime, clock: str) -> tuple[datetime, int] | None:
    match = _CLOCK.fullmatch(clock.strip())
    if match is None:
        return None
    nanoseconds = int((match[4] or "").ljust(9, "0"))
    try:
        moment = day.replace(
            hour=int(match[1]),
            minute=int(match[2]),
            second=int(match[3] or 0),
            microsecond=nanoseconds // 1000,
        )
    except ValueError:
        return None
    return moment, nanoseconds % 1000
