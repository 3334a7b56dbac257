"""Killed before any system call of a repair, nothing is lost, and the next repair ends with equal legs."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
import trio

from support.tree import differences, snapshot
from twinfs.model import Mode
from unit.mirror.killing import Death, furnished_ground, work_until_death
from unit.mirror.kit import Ground, User
from unit.scrub import mending

STRIDE = 17


def die_and_repair(base: Path, bad: str, first: int, step: int) -> list[str]:
    """Die at every `step`-th call; all that went wrong."""
    script = mending.mend_secondary if bad == "secondary" else mending.mend_primary
    troubles: list[str] = []
    for last in itertools.count(first, step):
        ground = furnished_ground(base / f"{last}", Mode.SYNC)
        good_leg, bad_leg = ground.primary, ground.secondary
        if bad == "primary":
            good_leg, bad_leg = bad_leg, good_leg
        kept = mending.plant(bad_leg, is_secondary=bad == "secondary")
        good = snapshot(good_leg)
        has_died = work_until_death(ground, script, Death(last))
        troubles += [f"killed at {last}: {line}" for line in _losses(bad_leg, kept)]
        troubles += [f"killed at {last}: good leg: {line}" for line in differences(good, snapshot(good_leg))]
        _repair(ground, script)
        for leg in (good_leg, bad_leg):
            troubles += [f"killed at {last}: in the end: {line}" for line in differences(good, snapshot(leg))]
            troubles += [f"killed at {last}: left {path}" for path in (leg / ".twinfs/tmp").iterdir()]
        troubles += [f"killed at {last}: in the end: {line}" for line in _losses(bad_leg, kept)]
        shutil.rmtree(base / f"{last}")
        if not has_died:
            assert last > 50, "it did nothing"
            return troubles
    raise AssertionError("never reached")


def _losses(leg: Path, kept: dict[str, bytes]) -> list[str]:
    """What is neither where it was nor in quarantine."""
    lost = []
    for path, content in kept.items():
        places = [leg / path, *(leg / ".twinfs/quarantine").glob(f"*/{path}")]
        if not any(place.is_file() and place.read_bytes() == content for place in places):
            lost.append(f"{path} is lost")
    return lost


def _repair(ground: Ground, script) -> None:
    async def main() -> None:
        volume = ground.open()
        await script(User(volume))
        await volume.close()

    trio.run(main)


@pytest.mark.parametrize("bad", ["primary", "secondary"])
def test_a_repair_that_is_killed_in_passing_loses_nothing(tmp_path: Path, bad: str) -> None:
    first = 3 if bad == "primary" else 7
    troubles = die_and_repair(tmp_path, bad, first, STRIDE)
    assert not troubles, "\n".join(troubles)


@pytest.mark.slow
@pytest.mark.parametrize("bad", ["primary", "secondary"])
def test_a_repair_that_is_killed_at_each_system_call_loses_nothing(tmp_path: Path, bad: str) -> None:
    troubles = die_and_repair(tmp_path, bad, 1, 1)
    assert not troubles, "\n".join(troubles)
