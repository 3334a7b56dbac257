"""twinfs-capture(1) tells what the commands do."""

from __future__ import annotations

from pathlib import Path

from twinfs_capture.main import SUMMARIES
from twinfs_capture.man_page import man_page

PAGE = Path(__file__).parents[3] / "docs" / "man" / "twinfs-capture.1"


def test_the_manual_is_up_to_date():
    make_it = "python -m twinfs_capture.man_page > docs/man/twinfs-capture.1"
    assert PAGE.read_text() == man_page(), f"make it again: {make_it}"


def test_every_command_has_its_section_with_its_options():
    page = man_page()
    for name, summary in SUMMARIES.items():
        assert rf".SS twinfs\-capture {name} " in page
        assert summary.replace("-", r"\-") in page
    assert r"\-\-resume" in page
