"""What a mail says."""

from __future__ import annotations

import time

from twinfs.model import Event, Notice, Severity, VolumeState
from twinfs.report.mail_text import body, subject

WHEN = time.mktime((2024, 5, 6, 18, 0, 1, 0, 0, -1))


def notice(kind="secondary_failed", severity=Severity.ERROR, message="EIO", seconds=0.0, action=None):
    return Notice(Event(WHEN + seconds, "photos", kind, message), severity, VolumeState.DEGRADED, action)


def test_the_subject_says_which_volume_on_which_machine_and_what():
    assert subject([notice()], "attic") == "twinfs: photos on attic: secondary failed"


def test_the_subject_of_several_is_the_loudest_and_newest_of_them():
    several = [notice("a"), notice("b", seconds=5), notice("c", Severity.WARNING, seconds=9)]
    assert subject(several, "attic") == "twinfs: photos on attic: b, 2 more events"


def test_the_body_says_what_happened_and_what_to_do_next():
    assert body([notice(action="check the disk"), notice("error", message="no\nroom")], "attic") == (
        "Volume photos on attic, degraded now.\n"
        "\n"
        "What happened:\n"
        "  2024-05-06 18:00:01  secondary_failed EIO\n"
        "  2024-05-06 18:00:01  error          no room\n"
        "\n"
        "What to do next:\n"
        "  nothing that twinfs knows of\n"
        "\n"
        "How it is now:  twinfs status photos\n"
        "All events:     twinfs events photos\n"
    )


def test_control_characters_of_a_file_name_reach_neither_subject_nor_body():
    odd = notice("od\nd", message="\x1b[2J\r\nBcc: everybody")
    assert subject([odd], "at\ntic").isprintable()
    assert "\x1b" not in body([odd], "attic")
    assert "\nBcc" not in body([odd], "attic")
