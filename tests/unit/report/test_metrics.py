"""Metrics, read back by Prometheus' own parser."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from twinfs.model import LegState, ScrubSummary, Severity
from twinfs.report.metrics import Counters, metrics_text
from unit.report.test_attention import HEALTHY, out

COUNTERS = Counters({Severity.ERROR: 3}, {"mail": 2})


def parse(text):
    """{name: {labels beside the volume: value}} and {name: type}."""
    values, kinds = {}, {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(value for key, value in sample.labels.items() if key != "volume")
            values.setdefault(sample.name, {})[labels] = sample.value
            kinds[sample.name] = family.type
            assert family.documentation
    return values, kinds


def test_every_figure_of_a_healthy_volume():
    values, kinds = parse(metrics_text("photos", HEALTHY, COUNTERS, "1.2"))
    assert values["twinfs_build_info"] == {("1.2",): 1}
    assert values["twinfs_mounted"] == {(): 1}
    assert values["twinfs_mode_info"] == {("sync",): 1}
    assert {state for state, value in values["twinfs_state"].items() if value} == {("clean",)}
    assert len(values["twinfs_state"]) == 5
    assert {state for state, value in values["twinfs_leg_state"].items() if value} == {
        ("primary", "in_sync"),
        ("secondary", "in_sync"),
    }
    assert values["twinfs_leg_size_bytes"] == {("primary",): 100, ("secondary",): 100}
    assert values["twinfs_leg_free_bytes"] == {("primary",): 50, ("secondary",): 50}
    assert values["twinfs_lag_seconds"] == {(): 0}
    assert values["twinfs_needs_action"] == {(): 0}
    assert values["twinfs_events_total"] == {("info",): 0, ("warning",): 0, ("error",): 3}
    assert values["twinfs_notices_failed_total"] == {("mail",): 2}
    assert {name for name, kind in kinds.items() if kind == "counter"} == {
        "twinfs_events_total",
        "twinfs_notices_failed_total",
    }


def test_pending_changes_and_the_last_scrub():
    scrub = ScrubSummary(1700000000.5, 4, 3, 12345678901234567)
    pending = replace(HEALTHY.pending, changes=7, bytes=1 << 53, lag_seconds=1.25)
    text = metrics_text("photos", replace(HEALTHY, pending=pending, last_scrub=scrub), COUNTERS, "1")
    values, _ = parse(text)
    assert values["twinfs_pending_changes"] == {(): 7}
    assert values["twinfs_lag_seconds"] == {(): 1.25}
    assert values["twinfs_last_scrub_timestamp_seconds"] == {(): 1700000000.5}
    assert values["twinfs_last_scrub_mismatches"] == {(): 4}
    assert values["twinfs_last_scrub_repaired"] == {(): 3}
    # In full: as a float it would have lost its last digits.
    assert 'twinfs_last_scrub_bytes{volume="photos"} 12345678901234567\n' in text
    assert 'twinfs_pending_bytes{volume="photos"} 9007199254740992\n' in text


def test_without_a_scrub_there_are_no_figures_about_one():
    assert "scrub" not in metrics_text("photos", HEALTHY, COUNTERS, "1")


def test_a_missing_leg_has_a_state_and_no_size():
    status = out(LegState.MISSING)
    gone = replace(status, legs=(status.legs[0], replace(status.legs[1], total_bytes=0, free_bytes=0)))
    values, _ = parse(metrics_text("photos", gone, COUNTERS, "1"))
    assert values["twinfs_leg_state"][("secondary", "missing")] == 1
    assert values["twinfs_needs_action"] == {(): 1}
    assert values["twinfs_leg_size_bytes"] == {("primary",): 100}


def test_an_unmounted_volume_says_so_and_nothing_that_grows_old():
    values, _ = parse(metrics_text("photos", None, COUNTERS, "1"))
    assert values["twinfs_mounted"] == {(): 0}
    assert set(values) == {
        "twinfs_build_info",
        "twinfs_mounted",
        "twinfs_events_total",
        "twinfs_notices_failed_total",
    }


def test_labels_are_escaped():
    odd = 'a"b\\c\nd'
    [family] = [
        family
        for family in text_string_to_metric_families(metrics_text(odd, None, COUNTERS, "1"))
        if family.name == "twinfs_mounted"
    ]
    assert family.samples[0].labels["volume"] == odd


def test_all_volumes_say_the_same_about_a_metric():
    """node_exporter refuses two files of which each says something else in HELP."""
    about = [
        [line for line in metrics_text(name, HEALTHY, COUNTERS, "1").splitlines() if line.startswith("#")]
        for name in ("photos", "music")
    ]
    assert about[0] == about[1]
