"""Every case of this directory again, on an image that is mounted with an overlay.

The directory that a case gets is one of the image's own, so that its entries and the new ones are one.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import tree
from support.images import MIB, blank, tool
from support.machine import needs_root
from support.mounted_image import Mounted, unmount
from support.parity import Case, parity

pytestmark = needs_root

_FROM_A_CASE = parity(lambda root: root).__code__
_LIMITS_OF_EXT4 = {
    "test_xattr_sizes_up_to_what_the_file_system_holds",
    "test_many_attributes_until_the_file_system_refuses",
}
"""What a plain directory refuses there, an overlay has room for."""
_LONG = {
    "test_removing_while_listing_removes_everything",
    "test_a_listing_begun_before_changes_ends_after_them",
    "test_a_thousand_links_to_one_file",
}
"""Thousands of calls: left to `make soak`."""
_MODULES = [path.stem for path in sorted(Path(__file__).parent.glob("test_*.py"))]
CASES: dict[str, Callable[[object], None]] = {
    name: each
    for module in _MODULES
    if module != Path(__file__).stem
    for name, each in vars(importlib.import_module(f"parity.{module}")).items()
    if getattr(each, "__code__", None) is _FROM_A_CASE and name not in _LIMITS_OF_EXT4
}


class Pair:
    """A fresh plain directory, and one that the image has."""

    def __init__(self, plain: Path, changed: Path) -> None:
        self.plain, self.changed = plain, changed

    def check(self, case: Case, *, compare_trees: bool = True) -> None:
        expected = case(self.plain)
        assert expected is not None
        assert case(self.changed) == expected
        if compare_trees:
            tree.assert_same(self.plain, self.changed, ignore=frozenset({"old_only"}))

    def remove(self) -> None:
        for directory in (self.plain, self.changed):
            shutil.rmtree(directory)


@pytest.fixture(scope="module")
def overlaid(module_workspace: Path) -> Iterator[Path]:
    """The top of an ext4 in an image that has an empty directory for each case."""
    source = module_workspace / "source"
    for name in CASES:
        (source / name).mkdir(parents=True)
        (source / name).chmod(0o777)
    image = blank(module_workspace / "image", 64 * MIB)
    tool("mkfs.ext4", "-q", "-d", source, image)
    before = image.read_bytes()
    overlay = module_workspace / "overlay"
    words = ("--overlay", overlay)
    mounted = Mounted(image, module_workspace / "mnt", module_workspace, words=words)
    yield mounted.path / "p0"
    unmount(mounted, overlay)
    assert image.read_bytes() == before
    assert "Traceback" not in mounted.log.read_text()


@pytest.fixture
def pair(overlaid: Path, module_workspace: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    name = request.node.callspec.params["name"]
    plain = module_workspace / "plain" / name
    plain.mkdir(parents=True)
    plain.chmod(0o777)
    old_umask = os.umask(0o022)
    try:
        yield Pair(plain, overlaid / name)
    finally:
        os.umask(old_umask)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in _LONG else name for name in CASES]
)
def test_an_overlay_does_as_a_plain_directory(pair: Pair, name: str) -> None:
    CASES[name](pair)
