"""An image with the odd tree, and mounts of it with an overlay."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fuse.overlays.making import WANTS, ext4
from support.mounted_image import Mounted
from support.odd_tree import build


@pytest.fixture(scope="module")
def image(module_workspace: Path) -> Path:
    """ext4 with the odd tree; every test that uses it finds it unchanged."""
    build(module_workspace / "tree", WANTS)
    return ext4(module_workspace / "disk.img", module_workspace / "tree")


@pytest.fixture
def overlay(workspace: Path) -> Path:
    return workspace / "overlay"


@pytest.fixture
def overlaid(mount, image: Path, overlay: Path):
    """Mounts the image with the overlay, again and again; in the end the image is what it was."""
    before = hashlib.sha256(image.read_bytes()).hexdigest()
    made: list[Mounted] = []

    def mounted() -> Mounted:
        made.append(mount(image, words=("--overlay", overlay)))
        return made[-1]

    yield mounted
    assert hashlib.sha256(image.read_bytes()).hexdigest() == before
    assert all("Traceback" not in each.log.read_text() for each in made)
