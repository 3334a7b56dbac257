"""How a settings file and the command line write an interval, a time of day, or a share."""

from __future__ import annotations

import re

from twinfs.errors import UsageError

_SECONDS_PER_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SECONDS_PER_AGE = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_AGE = re.compile(r"(\d+)(h|d|w)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_INTERVAL = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d")

MIN_INTERVAL_SECONDS = 0.1
MAX_INTERVAL_SECONDS = 86400.0


def parse_interval(value: str | float, setting: str = "interval") -> float:
    """Seconds from "5s", "2m", "1.5h", "500ms", or a plain number of seconds.

    Bounded: below 0.1 s a batch would cost more than it saves, and a day or more is what
    `at` is for. Raises UsageError, which names the `setting`.
    """
    match = _INTERVAL.fullmatch(str(value).strip())
    if match is None:
        raise UsageError(f"{setting}: {value!r} is not a time such as 5s, 2m or 1h")
    seconds = float(match[1]) * _SECONDS_PER_UNIT[match[2] or "s"]
    if not MIN_INTERVAL_SECONDS <= seconds <= MAX_INTERVAL_SECONDS:
        raise UsageError(f"{setting}: {value!r} is outside 100ms to 24h")
    return seconds


def parse_age(value: str, *, may_be_zero: bool = False) -> float:
    """Seconds from "35d", "2w" or "36h". Raises UsageError."""
    match = _AGE.fullmatch(value.strip())
    if match is None or not (may_be_zero or int(match[1])):
        raise UsageError(f"{value!r} is not an age such as 35d, 5w or 36h")
    return int(match[1]) * _SECONDS_PER_AGE[match[2]]


def format_age(seconds: float) -> str:
    """What `parse_age` reads back."""
    unit = "d" if seconds % 86400 == 0 else "h"
    return f"{int(seconds // _SECONDS_PER_AGE[unit])}{unit}"


def format_interval(seconds: float) -> str:
    """The shortest text that `parse_interval` reads back as the same number of seconds."""
    for unit in ("h", "m"):
        if seconds >= _SECONDS_PER_UNIT[unit] and seconds % _SECONDS_PER_UNIT[unit] == 0:
            return f"{int(seconds // _SECONDS_PER_UNIT[unit])}{unit}"
    return f"{seconds:.10g}s"


def parse_percent(value: str) -> float:
    """Percent from "50%" or "0.5%", above 0 and up to 100. Raises UsageError."""
    match = _PERCENT.fullmatch(value.strip())
    if match is None or not 0 < float(match[1]) <= 100:
        raise UsageError(f"{value!r} is not a share such as 50%")
    return float(match[1])


def parse_time_of_day(value: str) -> str:
    """Check an "HH:MM" on the 24-hour clock and hand it back. Raises UsageError."""
    if _TIME_OF_DAY.fullmatch(value) is None:
        raise UsageError(f"at: {value!r} is not a time of day such as 03:30")
    return value
