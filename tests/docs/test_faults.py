"""The table of faults names tests, and they are there."""

from __future__ import annotations

import re

from docs.markdown import ROOT

PAGE = (ROOT / "docs" / "faults.md").read_text()


def test_every_row_names_a_test_that_exists():
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    existing = set(re.findall(r"^(?:async )?def (test_\w+)", sources, re.MULTILINE))
    rows = [
        line for line in PAGE.splitlines() if line.startswith("|") and not re.match(r"\|(---| fault )", line)
    ]
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, f"no test: {row}"
        assert set(named) <= existing, row
