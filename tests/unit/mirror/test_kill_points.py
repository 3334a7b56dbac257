"""Killed before any system call of a script, the legs are equal after the next start.

The most that a kill may cost is what nobody was answered. The next start must never change the primary.
Run in passing, each script dies at every fifth of its calls, another fifth for each; `slow`, at each.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from twinfs.model import Mode
from unit.mirror import scripts
from unit.mirror.killing import Script, die_everywhere, die_twice

STRIDE = 5

every_script = pytest.mark.parametrize("script", scripts.ALL, ids=lambda script: script.__name__)
every_mode = pytest.mark.parametrize("mode", list(Mode))


def turn(script: Script, mode: Mode) -> int:
    """Where a script begins to die, so that together they die at calls of every kind."""
    return 1 + (scripts.ALL.index(script) * len(Mode) + list(Mode).index(mode)) % STRIDE


@every_mode
@every_script
def test_killed_in_passing_the_legs_end_equal(memory: Path, mode: Mode, script: Script) -> None:
    troubles = die_everywhere(memory, mode, script, first=turn(script, mode), step=STRIDE)
    assert not troubles, "\n".join(troubles)


@every_mode
def test_killed_in_the_middle_of_a_write_the_legs_end_equal(memory: Path, mode: Mode) -> None:
    troubles = die_everywhere(memory, mode, scripts.rename_what_was_just_written, step=3, is_torn=True)
    assert not troubles, "\n".join(troubles)


@every_mode
def test_killed_again_while_it_recovers_the_legs_end_equal(memory: Path, mode: Mode) -> None:
    troubles = die_twice(memory, mode, scripts.exchange, 12, step=3)
    assert not troubles, "\n".join(troubles)


@pytest.mark.slow
@every_mode
@every_script
@pytest.mark.parametrize("is_torn", [False, True], ids=["whole", "torn"])
def test_killed_at_each_system_call_the_legs_end_equal(
    memory: Path, mode: Mode, script: Script, is_torn: bool
) -> None:
    troubles = die_everywhere(memory, mode, script, is_torn=is_torn)
    assert not troubles, "\n".join(troubles)


@pytest.mark.slow
@every_mode
@every_script
@pytest.mark.parametrize("once", [4, 9, 14, 19, 24])
def test_killed_twice_anywhere_the_legs_end_equal(
    memory: Path, mode: Mode, script: Script, once: int
) -> None:
    troubles = die_twice(memory, mode, script, once, step=2)
    assert not troubles, "\n".join(troubles)
