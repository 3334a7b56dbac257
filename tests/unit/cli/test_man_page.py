"""twinfs(1) tells what the commands do."""

from __future__ import annotations

from pathlib import Path

from twinfs.cli.main import SUMMARIES
from twinfs.cli.man_page import man_page

PAGE = Path(__file__).parents[3] / "docs" / "man" / "twinfs.1"


def test_the_manual_is_up_to_date():
    assert PAGE.read_text() == man_page(), "make it again: python -m twinfs.cli.man_page > docs/man/twinfs.1"


def test_every_command_has_its_section_with_its_options():
    page = man_page()
    for name, summary in SUMMARIES.items():
        assert f".SS twinfs {name} " in page
        assert summary.replace("-", r"\-") in page
    assert r"\-\-config\-dir" in page
