"""No file name can break a log, a terminal or a JSON reader."""

from __future__ import annotations

import os

from twinfs.report.plain_text import readable, readable_path


def test_bytes_that_are_no_utf8_become_escapes():
    assert readable(os.fsdecode(b"caf\xe9 \xc3\xa9")) == r"caf\xe9 é"


def test_ordinary_text_stays_as_it_is():
    assert readable("größe\n1") == "größe\n1"


def test_a_files_name_cannot_talk_to_the_terminal():
    assert readable_path("a\x1b[2Jb\nc\udcff é") == "a\\x1b[2Jb\\nc\\xff é"
