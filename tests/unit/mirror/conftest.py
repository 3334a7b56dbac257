"""Fixtures of the mirror's unit tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from twinfs.model import Mode
from unit.mirror.kit import Ground, Pair, new_ground, pair_in


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with pair_in(tmp_path) as made:
        yield made


@pytest.fixture(params=[Mode.SYNC, Mode.BATCHED])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    return new_ground(tmp_path, request.param)
