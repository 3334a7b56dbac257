"""How loudly each event is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from twinfs.model import Severity
from twinfs.report import severity
from twinfs.report.severity import is_worth_a_mail, severity_of

SOURCE = Path(severity.__file__).parents[1]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("mounted", Severity.INFO),
        ("secondary_back", Severity.INFO),
        ("secondary_failed", Severity.ERROR),
        ("quarantined", Severity.WARNING),
        ("never_heard_of", Severity.WARNING),
    ],
)
def test_an_unknown_kind_is_rather_told_than_not(kind, expected):
    assert severity_of(kind) is expected


def test_only_what_somebody_just_asked_for_is_no_mail():
    kinds = ("mounted", "unmounted", "mode_changed", "secondary_failed", "secondary_back", "test", "new")
    assert [kind for kind in kinds if not is_worth_a_mail(kind)] == ["mounted", "unmounted", "mode_changed"]


def test_every_kind_with_a_severity_of_its_own_is_told_somewhere():
    text = "".join(path.read_text() for path in SOURCE.rglob("*.py") if path.name != "severity.py")
    kinds = severity._ORDINARY | severity._GOOD_NEWS | severity._BAD_NEWS
    assert {kind for kind in kinds if not re.search(rf'"{kind}"', text)} == set()
