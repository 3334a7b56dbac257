"""What `twinfs status` tells people."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from twinfs.model import (
    LegState,
    LegStatus,
    Mode,
    Pending,
    Role,
    ScrubSummary,
    VolumeState,
    VolumeStatus,
)
from twinfs.report.status_text import exposed, status_text

NOW = time.mktime((2024, 5, 6, 18, 0, 0, 0, 0, -1))

CLEAN = VolumeStatus(
    volume="photos",
    pid=4711,
    state=VolumeState.CLEAN,
    mode=Mode.SYNC,
    mountpoint="/mnt/hd1",
    legs=(
        LegStatus(Role.PRIMARY, "/mnt/hd1", LegState.IN_SYNC, 4 << 40, 1 << 40),
        LegStatus(Role.SECONDARY, "/mnt/hd2", LegState.IN_SYNC, 4 << 40, 2 << 40),
    ),
    pending=Pending(0, 0, 0.0),
    last_scrub=None,
    action=None,
)


def test_a_clean_volume_says_that_either_disk_may_be_unplugged():
    text = status_text(CLEAN, NOW)
    assert text.splitlines()[0] == "photos: clean - both legs hold everything; either disk may be unplugged"
    assert "/mnt/hd1 (sync mode, pid 4711)" in text
    assert "/mnt/hd2 in_sync, 2.0 TiB of 4.0 TiB free" in text
    assert "exposed    nothing" in text


def test_what_is_exposed_is_counted_and_dated():
    status = replace(CLEAN, state=VolumeState.DIRTY, pending=Pending(12, 3 << 20, 60.0))
    assert exposed(status, NOW) == "12 changes (3.0 MiB) on the primary only, since 17:59:00 (1 min ago)"


def test_a_missing_leg_is_told_without_sizes_and_with_what_to_do():
    legs = (CLEAN.legs[0], LegStatus(Role.SECONDARY, "/mnt/hd2", LegState.MISSING, 0, 0))
    status = replace(CLEAN, state=VolumeState.DEGRADED, legs=legs, action="mount the disk at /mnt/hd2")
    text = status_text(status, NOW)
    assert "/mnt/hd2 missing\n" in text
    assert text.endswith("to do      mount the disk at /mnt/hd2")


def test_an_unmounted_and_a_draining_volume_are_told_apart():
    assert "mounted    no (sync mode)" in status_text(replace(CLEAN, pid=None, mountpoint=None), NOW)
    assert "process 4711 is draining" in status_text(replace(CLEAN, mountpoint=None), NOW)


def test_the_last_scrub_tells_when_and_what():
    scrub = ScrubSummary(finished=NOW - 60, mismatches=2, repaired=1, bytes=5 << 30)
    assert "scrub      17:59:00: 2 mismatched, 1 repaired in 5.0 GiB" in status_text(
        replace(CLEAN, last_scrub=scrub), NOW
    )


@pytest.mark.parametrize("state", VolumeState)
def test_every_state_has_a_meaning(state):
    assert status_text(replace(CLEAN, state=state), NOW).startswith(f"photos: {state} - ")


def test_what_went_with_a_failed_primary_is_listed_and_the_rest_counted():
    status = replace(CLEAN, unreached=tuple(f"docs/file{number:02}\x1b" for number in range(12)))
    lines = status_text(status, NOW).splitlines()
    assert "these had not reached /mnt/hd1" in lines[-12]
    assert "docs/file00" in lines[-11] and "\x1b" not in lines[-11]
    assert "and 2 more: twinfs status photos --json" in lines[-1]
