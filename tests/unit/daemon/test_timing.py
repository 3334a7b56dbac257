"""A mode and its clock, as the command line gives them."""

from __future__ import annotations

import pytest

from twinfs.daemon.timing import Timing, parse_timing
from twinfs.errors import UsageError
from twinfs.model import Mode


def test_a_clock_alone_means_batched():
    assert parse_timing(None, "2m", None) == Timing(Mode.BATCHED, interval_seconds=120.0)
    assert parse_timing(None, None, "03:30") == Timing(Mode.BATCHED, at="03:30")


def test_without_anything_the_mode_is_sync():
    assert parse_timing(None, None, None) == Timing(Mode.SYNC)


def test_two_clocks_are_refused():
    with pytest.raises(UsageError, match="one of them"):
        parse_timing(Mode.BATCHED, "5s", "03:30")


def test_sync_has_no_clock():
    with pytest.raises(UsageError, match="batched"):
        parse_timing(Mode.SYNC, "5s", None)
