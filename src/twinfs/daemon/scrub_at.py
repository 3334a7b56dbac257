"""When a volume scrubs itself."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from twinfs.daemon.durations import parse_time_of_day
from twinfs.errors import UsageError

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_AT: Final = re.compile(r"(?:([a-z]{3})[a-z]* )?(\d\d:\d\d)")


def parse_scrub_at(value: str) -> str:
    """ "sun 03:00" (a week's day) or "03:00" (every day), checked, in that form. Raises UsageError."""
    match = _AT.fullmatch(value.strip().lower())
    if match is None or (match[1] is not None and match[1] not in _DAYS):
        raise UsageError(f"scrub_at: {value!r} is neither like 'sun 03:00' nor like '03:00'")
    parse_time_of_day(match[2])
    return f"{match[1]} {match[2]}" if match[1] else match[2]


def seconds_until_next(scrub_at: str, now: datetime | None = None) -> float:
    """From now to the next such moment of the local clock; never 0."""
    now = now or datetime.now().astimezone()
    day, _, clock = scrub_at.rpartition(" ")
    hour, minute = map(int, clock.split(":"))
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if day:
        then += timedelta(days=(_DAYS.index(day) - now.weekday()) % 7)
    while then <= now:
        then += timedelta(days=7 if day else 1)
    return (then - now).total_seconds()
