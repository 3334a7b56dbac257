"""When a volume scrubs itself."""

from __future__ import annotations

from datetime import datetime

import pytest

from twinfs.daemon.durations import format_age, parse_age
from twinfs.daemon.scrub_at import parse_scrub_at, seconds_until_next
from twinfs.errors import UsageError

FRIDAY = datetime(2024, 3, 1, 12, 0, 0)
HOUR, DAY = 3600, 86400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("13:00", HOUR),
        ("12:00", DAY),
        ("11:00", 23 * HOUR),
        ("fri 12:01", 60),
        ("fri 11:59", 7 * DAY - 60),
        ("sat 12:00", DAY),
        ("thu 12:00", 6 * DAY),
    ],
)
def test_it_is_the_next_such_moment(text, seconds):
    assert seconds_until_next(text, FRIDAY) == seconds


@pytest.mark.parametrize(
    ("text", "read"), [("sun 03:00", "sun 03:00"), ("Sunday 03:00", "sun 03:00"), ("03:00", "03:00")]
)
def test_a_day_may_be_written_out(text, read):
    assert parse_scrub_at(text) == read


@pytest.mark.parametrize("text", ["", "sun", "xyz 03:00", "sun 3:00", "sun 25:00", "03:00 sun"])
def test_anything_else_is_refused(text):
    with pytest.raises(UsageError):
        parse_scrub_at(text)


@pytest.mark.parametrize(("text", "seconds"), [("35d", 35 * DAY), ("2w", 14 * DAY), ("36h", 36 * HOUR)])
def test_ages(text, seconds):
    assert parse_age(text) == seconds
    assert parse_age(format_age(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "35", "0d", "-1d", "1.5d", "1y"])
def test_what_is_no_age_is_refused(text):
    with pytest.raises(UsageError):
        parse_age(text)
