"""Each case gets a plain directory and a directory on a volume that its module shares."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.parity import Pair
from support.volume import Volume


@pytest.fixture
def pair(shared_volume: Volume, request: pytest.FixtureRequest) -> Iterator[Pair]:
    plain_base = shared_volume.primary.parent / "plain"  # on the same file system as the leg
    plain_base.mkdir(exist_ok=True)
    name = re.sub(r"\W+", "-", request.node.name)[:100].strip("-")
    old_umask = os.umask(0o022)
    try:
        yield Pair(shared_volume, plain_base, name)
    finally:
        os.umask(old_umask)


@pytest.fixture
def volume_dir(pair: Pair) -> Path:
    """A directory of the volume, for what has no equal on a plain directory."""
    return pair.volume
