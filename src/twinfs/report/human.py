"""Sizes, durations and times as people say them."""

from __future__ import annotations

import time

from twinfs.words import count

__all__ = ["count", "duration", "moment", "size"]

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(count_bytes: float) -> str:
    """Two or three digits that count, and a binary unit: "0 B", "4.0 KiB", "640 MiB", "1.2 TiB"."""
    if count_bytes < 1024:
        return f"{int(count_bytes)} B"
    value = float(count_bytes)
    for unit in _UNITS:
        value /= 1024
        # What would print as "1024" is the next unit's turn.
        if value < 1023.5 or unit == _UNITS[-1]:
            break
    return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """The two largest units that matter: "0.4 s", "12 s", "3 min 5 s", "2 h 14 min", "5 d 3 h"."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s" if seconds % 1 else f"{int(seconds)} s"
    whole = round(seconds)
    for large, small, large_unit, small_unit in (
        (86400, 3600, "d", "h"),
        (3600, 60, "h", "min"),
        (60, 1, "min", "s"),
    ):
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large} {large_unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole} s"


def moment(seconds_since_epoch: float, now: float) -> str:
    """Local time: the clock alone when it was today, with the date otherwise."""
    then = time.localtime(seconds_since_epoch)
    is_today = then[:3] == time.localtime(now)[:3]
    return time.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S", then)
