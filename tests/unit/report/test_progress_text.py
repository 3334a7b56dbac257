"""How far a long operation is, in words."""

from __future__ import annotations

from twinfs.model import Progress
from twinfs.report.progress_text import left_seconds, progress_line

HALF = Progress("copying", 50, 100, 1 << 30, 2 << 30, "a/b")


def test_line_tells_files_bytes_rate_and_time_left():
    assert progress_line(HALF, 10.0) == ("copying: 50 of 100 files, 1.0 GiB of 2.0 GiB, 102 MiB/s, 10 s left")


def test_unknown_totals_are_left_out():
    begun = Progress("comparing", 7, 0, 0, 0, "")
    assert progress_line(begun, 10.0) == "comparing: 7 files, 0 B"


def test_the_first_second_says_nothing_about_the_rate():
    assert progress_line(HALF, 0.5) == "copying: 50 of 100 files, 1.0 GiB of 2.0 GiB"


def test_time_left_follows_what_is_slower():
    many_small_files = Progress("copying", 10, 100, 9, 10, "")
    assert left_seconds(many_small_files, 10.0) == 90.0


def test_time_left_is_unknown_before_anything_is_done():
    assert left_seconds(Progress("copying", 0, 100, 0, 10, ""), 10.0) is None


def test_more_done_than_announced_leaves_no_negative_time():
    assert left_seconds(Progress("copying", 120, 100, 0, 0, ""), 10.0) == 0.0
