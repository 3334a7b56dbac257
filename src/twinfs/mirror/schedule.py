"""Times of day for batches."""

from __future__ import annotations

from datetime import datetime, timedelta


def seconds_until(at: str, now: datetime | None = None) -> float:
    """From now to the next "HH:MM" of the local clock; never 0, but a day at that very minute's start."""
    now = now or datetime.now().astimezone()
    hour, minute = map(int, at.split(":"))
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if then <= now:
        then += timedelta(days=1)
    return (then - now).total_seconds()
