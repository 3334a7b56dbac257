"""A directory of a shared volume for real programs to live in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.volume import Volume


@pytest.fixture
def place(shared_volume: Volume, request: pytest.FixtureRequest) -> Path:
    """An empty directory of a volume that the module's tests share; both modes."""
    directory = shared_volume.mount / re.sub(r"\W+", "-", request.node.name)[:100].strip("-")
    directory.mkdir()
    return directory
