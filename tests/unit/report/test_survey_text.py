"""A dry run, for people."""

from __future__ import annotations

from twinfs.model import Action, Survey
from twinfs.report.survey_text import survey_text


def test_a_dry_run_counts_and_gives_examples_and_says_that_nothing_was_changed():
    found = Survey(12, 5 << 20, 2, 3, 1, 1 << 20, ("differs: a\x1bb", "missing on the secondary: c"))
    text = survey_text("photos", Action.REBUILD, found)
    assert "nothing was changed" in text.splitlines()[0]
    assert "12 objects, 5.0 MiB" in text
    assert [line.split()[-1] for line in text.splitlines()[2:5]] == ["2", "3", "1"]
    assert "1.0 MiB" in text and "\x1b" not in text and "missing on the secondary: c" in text


def test_what_cannot_be_looked_at_is_not_counted():
    assert "to look at" not in survey_text("photos", Action.PROMOTE, Survey(differing=2))
