"""docs/events.md names the kinds, variables and metrics that there are, and only those."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace

from docs.markdown import ROOT, first_column, rows, section
from twinfs.daemon import channels
from twinfs.daemon.telling import parse_addresses, parse_command
from twinfs.model import ScrubSummary, Severity
from twinfs.report import severity
from twinfs.report.metrics import Counters, metrics_text
from unit.report.test_attention import HEALTHY

EVENTS = ROOT / "docs" / "events.md"


def test_every_kind_has_the_severity_that_the_page_says():
    documented = {
        kind: cells[1]
        for cells in rows(section(EVENTS, "Kinds"))
        for kind in re.findall(r"`(\w+)`", cells[0])
    }
    assert {kind: severity.severity_of(kind).value for kind in documented} == documented
    assert set(documented) >= severity._ORDINARY | severity._GOOD_NEWS | severity._BAD_NEWS


def test_every_kind_that_the_source_tells_is_on_the_page():
    documented = {kind for kinds in first_column(section(EVENTS, "Kinds")) for kind in kinds}
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    told = set(re.findall(r'(?:tell|on_event|append)\(\s*"([a-z_]+)",', source))
    assert told <= documented
    assert len(told) >= 8


def test_variables_of_a_hook_are_those_that_it_gets():
    documented = {word for words in first_column(section(EVENTS, "A hook")) for word in words}
    source = (ROOT / "src/twinfs/daemon/channels.py").read_text()
    assert documented == set(re.findall(r'"(TWINFS_\w+)"', source))


def test_metrics_and_their_labels_are_those_that_are_written():
    full = replace(HEALTHY, last_scrub=ScrubSummary(1.0, 0, 0, 0))
    text = metrics_text("v", full, Counters({Severity.INFO: 1}, {"hook": 0}), "1")
    written = {}
    for name, labels in re.findall(r"^(\w+)\{(.*)\}", text, re.MULTILINE):
        written[name] = set(re.findall(r'(\w+)="', labels)) - {"volume"}
    documented = {}
    for cells in rows(section(EVENTS, "Prometheus")):
        for name in re.findall(r"`(\w+)`", cells[0]):
            documented[name] = set(re.findall(r"`(\w+)`", cells[1]))
    assert documented == written


def test_every_setting_on_the_page_can_be_read():
    lines = re.findall(r"^    (\w+ = .*)$", EVENTS.read_text(), re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        [(name, value)] = tomllib.loads(line).items()
        match name:
            case "on_event":
                assert parse_command(value)
            case "mail_to":
                assert parse_addresses(value)
            case _:
                assert (name, value.endswith(".prom")) == ("metrics_file", True)


def test_the_limits_are_those_that_are_kept():
    text = EVENTS.read_text()
    assert f"After {channels.TIMEOUT_SECONDS:.0f} seconds" in text
    assert f"{channels._MAX_VARIABLE_CHARACTERS:,} characters" in text
