"""An event as one line."""

from __future__ import annotations

import time

from twinfs.model import Event
from twinfs.report.event_text import event_line


def test_line_has_date_kind_and_message():
    then = time.mktime((2024, 5, 6, 18, 0, 1, 0, 0, -1))
    event = Event(time=then, volume="photos", kind="mounted", message="at /mnt/hd1")
    assert event_line(event) == "2024-05-06 18:00:01  mounted        at /mnt/hd1"


def test_a_message_of_several_lines_stays_one():
    event = Event(time=0.0, volume="photos", kind="error", message="no room\n  make some")
    assert event_line(event).endswith("  error          no room make some")
