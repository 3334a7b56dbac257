"""Sizes, durations and times read as people say them."""

from __future__ import annotations

import time

import pytest

from twinfs.report import human


@pytest.mark.parametrize(
    ("count_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1023.6 * 1024, "1.0 MiB"),
        (640 << 20, "640 MiB"),
        (5 << 40, "5.0 TiB"),
        (3000 << 60, "3000 EiB"),
    ],
)
def test_size_has_a_binary_unit_and_two_or_three_digits(count_bytes, text):
    assert human.size(count_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.42, "0.4 s"),
        (-0.1, "0.0 s"),
        (9, "9 s"),
        (12.4, "12 s"),
        (59.9, "1 min"),
        (185, "3 min 5 s"),
        (3600, "1 h"),
        (8040, "2 h 14 min"),
        (443_000, "5 d 3 h"),
    ],
)
def test_duration_says_the_two_units_that_matter(seconds, text):
    assert human.duration(seconds) == text


def test_moment_of_today_is_a_clock_time_and_an_older_one_has_its_date():
    now = time.mktime((2024, 5, 6, 18, 0, 0, 0, 0, -1))
    assert human.moment(now - 3600, now) == "17:00:00"
    assert human.moment(now - 86400, now) == "2024-05-05 18:00:00"


def test_one_thing_is_singular():
    assert human.count(1, "change") == "1 change"
    assert human.count(0, "change") == "0 changes"
