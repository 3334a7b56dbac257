"""Which of two disks is the primary, from their labels alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twinfs.errors import LegNotMountedError, SplitBrainError, WrongDiskError
from twinfs.mirror.legs import open_legs
from twinfs.model import Mode, Role
from unit.mirror.kit import Ground, new_ground

_ALONE = {"role": "primary", "is_alone": True}


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return new_ground(tmp_path, Mode.SYNC)


def edit(where: Path, **changes: Any) -> None:
    file = where / ".twinfs/label.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def primary_of(ground: Ground, *, is_degraded_allowed: bool = False) -> str:
    legs = open_legs(ground.config, is_degraded_allowed=is_degraded_allowed)
    legs.close()
    return legs.primary.place


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({}, {}, Role.PRIMARY),
        ({"events": 2, "is_alone": True}, {}, Role.PRIMARY),
        ({}, {"events": 2, "is_alone": True, "role": "primary"}, Role.SECONDARY),
        ({"role": "secondary"}, {"role": "primary"}, Role.SECONDARY),
        # A promotion that was cut short after the first label.
        ({"role": "primary"}, {"events": 2, "role": "primary"}, Role.SECONDARY),
        (
            {"role": "secondary", "events": 2},
            {"events": 2, "role": "primary", "is_alone": True},
            Role.SECONDARY,
        ),
        # The old primary, back after it had failed.
        (
            {"events": 1, "role": "primary"},
            {"events": 3, "role": "primary", "is_alone": True},
            Role.SECONDARY,
        ),
    ],
)
def test_labels_say_who_is_the_primary(
    ground: Ground, first: dict[str, Any], second: dict[str, Any], expected: Role
) -> None:
    edit(ground.primary, **first)
    edit(ground.secondary, **second)
    assert primary_of(ground) == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"events": 2, "is_alone": True}, {"events": 2, "is_alone": True}),
        ({"events": 2, "is_alone": True}, {"events": 5, "is_alone": True, "role": "primary"}),
        ({"events": 1}, {"events": 2}),
        ({"events": 2, "is_alone": True}, {"events": 3}),
    ],
)
def test_legs_that_both_went_on_are_refused_with_both_counters(
    ground: Ground, first: dict[str, Any], second: dict[str, Any]
) -> None:
    edit(ground.primary, **first)
    edit(ground.secondary, **second)
    with pytest.raises(SplitBrainError, match=f"events {first['events']}.*\n.*events {second['events']}"):
        open_legs(ground.config, is_degraded_allowed=True)


def test_a_missing_leg_needs_to_be_allowed(ground: Ground) -> None:
    (ground.secondary / ".twinfs/label.json").unlink()
    with pytest.raises(LegNotMountedError, match="--degraded"):
        primary_of(ground)
    assert primary_of(ground, is_degraded_allowed=True) == Role.PRIMARY


def test_a_detached_leg_is_not_missed_and_not_used(ground: Ground) -> None:
    edit(ground.primary, is_detached=True, is_alone=True, events=2)
    legs = open_legs(ground.config, is_degraded_allowed=False)
    legs.close()
    assert (legs.primary.place, legs.secondary) == (Role.PRIMARY, None)
    (ground.secondary / ".twinfs/label.json").unlink()
    assert primary_of(ground) == Role.PRIMARY


def test_a_secondary_takes_over_only_when_that_is_allowed(ground: Ground) -> None:
    (ground.primary / ".twinfs/label.json").unlink()
    with pytest.raises(LegNotMountedError, match="primary leg"):
        primary_of(ground)
    legs = open_legs(ground.config, is_degraded_allowed=True)
    legs.close()
    assert (legs.primary.place, legs.is_taking_over) == (Role.SECONDARY, True)


def test_disks_at_each_others_place_are_refused(ground: Ground) -> None:
    edit(ground.primary, leg="secondary", role="primary")
    with pytest.raises(WrongDiskError, match="swapped"):
        primary_of(ground)
