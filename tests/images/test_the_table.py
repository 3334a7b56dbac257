from __future__ import annotations

from docs.markdown import ROOT
from images.table import table


def test_the_table_of_formats_says_what_the_tests_compare():
    page = (ROOT / "docs" / "images.md").read_text()
    assert table() in page, "make it again: cd tests && ../.venv/bin/python -m images.table"
