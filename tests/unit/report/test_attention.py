"""Whether a volume needs a person."""

from __future__ import annotations

from dataclasses import replace

import pytest

from twinfs.model import LegState, LegStatus, Mode, Pending, Role, VolumeState, VolumeStatus
from twinfs.report.attention import attention_of

PRIMARY = LegStatus(Role.PRIMARY, "/mnt/a", LegState.IN_SYNC, 100, 50)
SECONDARY = LegStatus(Role.SECONDARY, "/mnt/b", LegState.IN_SYNC, 100, 50)
HEALTHY = VolumeStatus(
    "photos", 1, VolumeState.CLEAN, Mode.SYNC, "/srv", (PRIMARY, SECONDARY), Pending(0, 0, 0.0), None, None
)


def out(state):
    legs = (PRIMARY, replace(SECONDARY, state=state))
    return replace(HEALTHY, state=VolumeState.DEGRADED, legs=legs, action="check the disk at /mnt/b")


@pytest.mark.parametrize("state", [VolumeState.CLEAN, VolumeState.DIRTY, VolumeState.RESYNCING])
def test_a_volume_that_mends_itself_needs_nobody(state):
    legs = (PRIMARY, replace(SECONDARY, state=LegState.STALE))
    assert attention_of(replace(HEALTHY, state=state, legs=legs)) is None


@pytest.mark.parametrize("state", [LegState.MISSING, LegState.WRONG_DISK, LegState.FAULTY])
def test_a_leg_that_is_out_is_named_with_what_to_do(state):
    found = attention_of(out(state))
    assert found.key == f"degraded+secondary:{state}"
    assert found.text == (
        f"the volume is degraded; the secondary is {state}: /mnt/b. To do: check the disk at /mnt/b"
    )


def test_what_waits_is_said_but_does_not_make_it_another_trouble():
    waiting = replace(out(LegState.MISSING), pending=Pending(12, 5, 60.0), action="other words")
    assert attention_of(waiting).key == attention_of(out(LegState.MISSING)).key
    assert "12 changes wait" in attention_of(waiting).text


def test_failed_needs_a_person_even_when_no_leg_says_why():
    assert attention_of(replace(HEALTHY, state=VolumeState.FAILED)).key == "failed"


def test_whatever_has_an_action_needs_a_person():
    found = attention_of(replace(HEALTHY, action="twinfs scrub photos --repair"))
    assert (found.key, "To do: twinfs scrub photos --repair" in found.text) == ("action", True)
