"""Intervals and times of day."""

from __future__ import annotations

import pytest

from twinfs.daemon.durations import format_interval, parse_interval, parse_time_of_day
from twinfs.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("5", 5), (5, 5), (2.5, 2.5), ("2m", 120), ("1h", 3600), ("500ms", 0.5), (" 1.5 m ", 90)],
)
def test_an_interval_is_a_number_with_or_without_unit(text, seconds):
    assert parse_interval(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "5x", "-5s", "0", "1e3", "25h", "nan", "5s 5s"])
def test_what_is_no_interval_or_out_of_bounds_is_refused(text):
    with pytest.raises(UsageError, match="interval"):
        parse_interval(text)


@pytest.mark.parametrize("seconds", [0.1, 0.25, 5, 59, 60, 90, 120, 3600, 5400, 86400, 12.345])
def test_a_formatted_interval_reads_back_the_same(seconds):
    assert parse_interval(format_interval(seconds)) == seconds


@pytest.mark.parametrize("text", ["00:00", "03:30", "23:59"])
def test_a_time_of_day_is_two_digits_each(text):
    assert parse_time_of_day(text) == text


@pytest.mark.parametrize("text", ["3:30", "24:00", "12:60", "12:00:00", "noon", "12:00\n"])
def test_what_is_no_time_of_day_is_refused(text):
    with pytest.raises(UsageError, match="03:30"):
        parse_time_of_day(text)
