"""`twinfs scrub`: every planted fault is found, judged right and repaired; nothing else is."""

from __future__ import annotations

import json
import os
import time

import pytest

from support import tree
from support.faults import FAULTS, flip, make_tree, unnoticed
from support.scrubbing import (
    judged,
    scrub,
    scrubbed_volume,
    wait_until_recorded,
)


@pytest.mark.parametrize(
    ("bad", "is_mounted", "mode"),
    [
        ("secondary", True, "sync"),
        ("primary", True, "batched"),
        ("secondary", False, "batched"),
        ("primary", False, "sync"),
    ],
)
def test_every_fault_of_a_leg_is_found_judged_right_and_repaired(new_volume, bad, is_mounted, mode):
    volume = scrubbed_volume(new_volume, mode, is_mounted=is_mounted)
    leg = volume.primary if bad == "primary" else volume.secondary
    good = tree.snapshot(volume.secondary if bad == "primary" else volume.primary)
    for fault in FAULTS:
        fault.plant(leg)
    expected = {fault.path: (fault.kind, bad) for fault in FAULTS}

    planted = tree.snapshot(leg)
    found, summary = scrub(volume, expect=4)
    assert judged(found) == expected
    assert (summary["mismatches"], summary["repaired"]) == (len(FAULTS), 0)
    assert tree.snapshot(leg) == planted, "a scrub without --repair changes nothing"

    found, summary = scrub(volume, "--repair", expect=1)
    assert judged(found) == expected
    assert all(line["repaired"] for line in found)
    assert (summary["mismatches"], summary["repaired"]) == (len(FAULTS), len(FAULTS))
    for root in (volume.primary, volume.secondary):
        assert tree.differences(good, tree.snapshot(root)) == []
    if is_mounted:
        tree.assert_same(volume.mount, volume.primary)
    assert scrub(volume, expect=0)[0] == []


def test_what_a_repair_replaced_is_in_quarantine_with_the_reason(new_volume):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=False)
    flip(volume.secondary / "docs/small-00", 3)
    bad = (volume.secondary / "docs/small-00").read_bytes()
    scrub(volume, "--repair", expect=1)
    quarantine = volume.secondary / ".twinfs/quarantine"
    (reasons,) = quarantine.glob("*.jsonl")
    (reason,) = map(json.loads, reasons.read_text().splitlines())
    assert (reason["path"], reason["leg"]) == ("docs/small-00", "secondary")
    assert "bytes differ" in reason["why"]
    assert abs(reason["time"] - time.time()) < 60
    assert (volume.secondary / reason["kept_as"]).read_bytes() == bad


def test_a_foreign_file_on_the_secondary_goes_to_quarantine(new_volume):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=True)
    (volume.secondary / "docs/foreign").write_text("put straight onto the secondary")
    found, _ = scrub(volume, "--repair", expect=1)
    assert judged(found) == {"docs/foreign": ("extra", "secondary")}
    assert not (volume.secondary / "docs/foreign").exists()
    (kept,) = (volume.secondary / ".twinfs/quarantine").glob("*/docs/foreign")
    assert kept.read_text() == "put straight onto the secondary"
    volume.assert_legs_equal()


def test_nothing_is_guessed_where_no_record_tells(new_volume):
    """Never scrubbed before, or changed on both legs."""
    volume = new_volume("sync").init().mount_it()
    make_tree(volume.mount)
    volume.umount()
    (volume.state / "scrub.db").unlink(missing_ok=True)
    flip(volume.primary / "docs/small-00", 3)
    flip(volume.secondary / "docs/small-01", 3)
    os.chmod(volume.secondary / "docs/small-02", 0o600)
    expected = {
        "docs/small-00": ("content", "unknown"),
        "docs/small-01": ("content", "unknown"),
        "docs/small-02": ("metadata", "unknown"),
    }
    found, _ = scrub(volume, "--repair", expect=4)
    assert judged(found) == expected
    found, _ = scrub(volume, "--repair", "--prefer", "secondary", expect=1)
    assert judged(found) == expected
    tree.assert_same(volume.primary, volume.secondary)
    assert (volume.primary / "docs/small-02").stat().st_mode & 0o777 == 0o600
    (kept,) = (volume.primary / ".twinfs/quarantine").glob("*/docs/small-01")
    assert kept.read_bytes() == b"small 1\n" * 40


def test_the_same_rot_on_both_legs_is_reported(new_volume):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=False)
    for leg in (volume.primary, volume.secondary):
        flip(leg / "docs/small-04", 20)
    found, _ = scrub(volume, "--repair", expect=4)
    assert judged(found) == {"docs/small-04": ("content", "unknown")}
    assert "both copies are equal" in found[0]["detail"]
    scrub(volume, "--repair", "--prefer", "primary", expect=1)
    scrub(volume, expect=0)


def test_what_the_volume_changed_itself_is_no_mismatch(new_volume, mode="sync"):
    """Even with size and time as they were: the volume knows that it was changed."""
    volume = scrubbed_volume(new_volume, mode, is_mounted=True)
    with unnoticed(volume.mount / "docs/small-00"):
        (volume.mount / "docs/small-00").write_bytes(b"large 0\n" * 40)
    (volume.mount / "docs/small-01").unlink()
    (volume.mount / "docs/small-02").rename(volume.mount / "docs/small-01")
    (volume.mount / "docs/deep").rename(volume.mount / "deep")
    assert scrub(volume, expect=0)[0] == []
    # What was renamed is still known.
    flip(volume.primary / "deep/large", 5_000_000)
    found, _ = scrub(volume, expect=4)
    assert judged(found) == {"deep/large": ("content", "primary")}


def test_a_change_is_known_after_a_kill(new_volume):
    volume = scrubbed_volume(new_volume, "sync", is_mounted=True)
    with unnoticed(volume.mount / "docs/small-00"):
        (volume.mount / "docs/small-00").write_bytes(b"large 0\n" * 40)
    volume.kill()
    volume.remount()
    assert scrub(volume, expect=0)[0] == []


def test_excluded_files_are_left_out(new_volume):
    volume = new_volume("sync").init()
    volume.configure('exclude = ["*.tmp"]')
    volume.mount_it()
    make_tree(volume.mount)
    (volume.mount / "a.tmp").write_text("on the primary only")
    (volume.secondary / "b.tmp").write_text("not ours")
    assert scrub(volume, expect=0)[0] == []


def test_what_was_written_and_never_scrubbed_is_judged_by_its_record(new_volume):
    volume = new_volume("sync").init().mount_it()
    (volume.mount / "file").write_bytes(b"written and left alone" * 100)
    wait_until_recorded(volume, "file")
    flip(volume.secondary / "file", 77)
    found, _ = scrub(volume, "--repair", expect=1)
    assert judged(found) == {"file": ("content", "secondary")}
    volume.assert_legs_equal()


def test_without_the_secondary_it_cannot_run(new_volume):
    volume = new_volume("sync").init()
    volume.secondary.rename(volume.base / "elsewhere")
    done = volume.twinfs("scrub", volume.name, check=False)
    assert done.returncode == 8
    assert "secondary" in done.stderr
    (volume.base / "elsewhere").rename(volume.secondary)
