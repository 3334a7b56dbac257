"""Moments as people write them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from twinfs.daemon.past_time import parse_past
from twinfs.errors import UsageError

NOW = datetime(2026, 11, 28, 15, 30, 20, 500)


def seconds(moment: datetime) -> int:
    return round(moment.timestamp())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("yesterday 18:00", datetime(2026, 11, 27, 18)),
        ("Yesterday, 18:00:30", datetime(2026, 11, 27, 18, 0, 30)),
        ("yesterday", datetime(2026, 11, 27)),
        ("today 9:05", datetime(2026, 11, 28, 9, 5)),
        ("9:05", datetime(2026, 11, 28, 9, 5)),
        ("18:00", datetime(2026, 11, 27, 18)),
        ("2026-11-27 18:00", datetime(2026, 11, 27, 18)),
        ("2026-11-27T18:00:01", datetime(2026, 11, 27, 18, 0, 1)),
        ("2026-11-27", datetime(2026, 11, 27)),
        ("3h", NOW - timedelta(hours=3)),
        ("90m ago", NOW - timedelta(minutes=90)),
        ("2d", NOW - timedelta(days=2)),
        ("1w", NOW - timedelta(days=7)),
    ],
)
def test_what_people_write_is_understood(text: str, wanted: datetime) -> None:
    assert parse_past(text, NOW) // 10**9 == seconds(wanted.replace(microsecond=0))


def test_a_time_with_a_zone_is_that_moment() -> None:
    wanted = datetime.fromisoformat("2026-11-27T18:00:00+05:00").timestamp()
    assert parse_past("2026-11-27T18:00:00+05:00", NOW) == wanted * 10**9


def test_microseconds_are_exact() -> None:
    assert parse_past("2026-11-27 18:00:00.123457", NOW) % 10**9 == 123_457_000


@pytest.mark.parametrize(
    "text", ["", "soon", "25:00", "yesterday 18", "2026-13-01", "-3h", "3y", "9" * 30 + "d"]
)
def test_what_is_not_understood_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(UsageError, match="yesterday 18:00"):
        parse_past(text, NOW)


def test_the_future_is_refused() -> None:
    with pytest.raises(UsageError, match="future"):
        parse_past("2026-11-28 15:31", NOW)
