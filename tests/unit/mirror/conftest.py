"""Fixtures of the mirror's unit tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinfs.mirror import reads
from twinfs.mirror.meter import LegMeter
from twinfs.model import Mode
from unit.mirror.kit import SHM, Ground, Pair, new_ground, pair_in


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_in(tmp_path) as made:
        yield made


@pytest.fixture(params=[Mode.SYNC, Mode.BATCHED])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    return new_ground(tmp_path, request.param)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: a volume's start and end cost a dozen fsyncs."""
    if not os.access(SHM, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=SHM, prefix="twinfs-unit-") as directory:
        yield Path(directory)


@pytest.fixture
def nothing_is_cached_nor_in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "is_cached", lambda fd, offset, size: False)
    monkeypatch.setattr(reads, "_OPENING_SECONDS", 60)
    monkeypatch.setattr(LegMeter, "patience_seconds", lambda self: 60)
