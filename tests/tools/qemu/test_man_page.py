"""twinfs-qemu(1) tells what the commands do."""

from __future__ import annotations

from pathlib import Path

from twinfs_qemu.main import SUMMARIES
from twinfs_qemu.man_page import man_page

PAGE = Path(__file__).parents[3] / "docs" / "man" / "twinfs-qemu.1"


def test_the_manual_is_up_to_date():
    make_it = "python -m twinfs_qemu.man_page > docs/man/twinfs-qemu.1"
    assert PAGE.read_text() == man_page(), f"make it again: {make_it}"


def test_every_command_has_its_section_with_its_options():
    page = man_page()
    for name, summary in SUMMARIES.items():
        assert rf".SS twinfs\-qemu {name} " in page
        assert summary.replace("-", r"\-") in page
    assert r"\-\-snapshot" in page
    assert r".SS twinfs\-qemu net up " in page
