"""A directory of a shared volume for real programs to live in."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.mounted_image import Mounted
from support.volume import Volume


@pytest.fixture
def place(shared_volume: Volume, request: pytest.FixtureRequest) -> Path:
    """An empty directory of a volume that the module's tests share; both modes."""
    directory = shared_volume.mount / re.sub(r"\W+", "-", request.node.name)[:100].strip("-")
    directory.mkdir()
    return directory


@pytest.fixture
def open_fuse_device() -> Iterator[None]:
    """/dev/fuse open to everybody, as udev makes it; a bare container may have it for root only."""
    before = stat.S_IMODE(os.stat("/dev/fuse").st_mode)
    os.chmod("/dev/fuse", 0o666)
    yield
    os.chmod("/dev/fuse", before)


@pytest.fixture
def mount(workspace: Path) -> Iterator[Callable[..., Mounted]]:
    """Mount images; all are unmounted in the end."""
    made: list[Mounted] = []

    def mounted(image: Path, name: str = "mnt", **options) -> Mounted:
        made.append(Mounted(image, workspace / name, workspace, **options))
        return made[-1]

    yield mounted
    for each in made:
        each.end()
