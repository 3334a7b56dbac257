"""No file name can break a log, a terminal or a JSON reader."""

from __future__ import annotations

import os

from twinfs.report.plain_text import readable


def test_bytes_that_are_no_utf8_become_escapes():
    assert readable(os.fsdecode(b"caf\xe9 \xc3\xa9")) == r"caf\xe9 é"


def test_ordinary_text_stays_as_it_is():
    assert readable("größe\n1") == "größe\n1"
