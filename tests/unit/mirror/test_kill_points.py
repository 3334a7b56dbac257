"""Killed before every single system call of a script, the legs are equal after the next start.

The most that a kill may cost is what nobody was answered. The next start must never change the primary.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinfs.model import Mode
from unit.mirror import scripts
from unit.mirror.killing import Script, die_everywhere
from unit.mirror.kit import SHM

MODES = list(Mode)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: each kill costs a dozen fsyncs."""
    if not os.access(SHM, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=SHM, prefix="twinfs-unit-") as directory:
        yield Path(directory)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("script", scripts.ALL, ids=lambda script: script.__name__)
def test_killed_at_any_system_call_the_legs_end_equal(memory: Path, mode: Mode, script: Script) -> None:
    troubles = die_everywhere(memory, mode, script)
    assert not troubles, "\n".join(troubles)
