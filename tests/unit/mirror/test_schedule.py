"""Times of day, with given clocks."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinfs.mirror.schedule import seconds_until

ZONE = timezone(timedelta(hours=-3, minutes=-30))


def clock(hour: int, minute: int, second: int = 0) -> datetime:
    return datetime(2026, 1, 31, hour, minute, second, tzinfo=ZONE)


@pytest.mark.parametrize(
    ("at", "now", "seconds"),
    [
        ("23:30", clock(23, 0), 1800),
        ("00:15", clock(23, 45), 1800),
        ("12:00", clock(12, 0), 86400),
        ("12:00", clock(11, 59, 59), 1),
        ("12:00", clock(12, 0, 1), 86399),
        ("00:00", clock(0, 0, 1), 86399),
    ],
)
def test_the_next_time_of_day_is_found(at: str, now: datetime, seconds: float) -> None:
    assert seconds_until(at, now) == seconds


@given(st.integers(0, 23), st.integers(0, 59), st.datetimes(timezones=st.just(ZONE)))
def test_it_is_within_a_day_and_the_clock_then_shows_it(hour: int, minute: int, now: datetime) -> None:
    if now > datetime(9999, 12, 30, tzinfo=ZONE):
        return
    seconds = seconds_until(f"{hour:02}:{minute:02}", now)
    assert 0 < seconds <= 86400
    then = now + timedelta(seconds=seconds)
    assert (then.hour, then.minute) == (hour, minute)


def test_without_a_clock_it_is_the_local_one() -> None:
    now = datetime.now().astimezone()
    assert 86000 < seconds_until(f"{now:%H:%M}") <= 86400
