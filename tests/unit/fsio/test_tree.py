"""Removing whole trees."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinfs.fsio.tree import remove_tree


@pytest.fixture
def dir_fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_everything_below_goes_and_no_descriptor_is_left(tmp_path: Path, dir_fd: int) -> None:
    for directory in ("t/a/b/c", "t/a/d", "t/e"):
        (tmp_path / directory).mkdir(parents=True, exist_ok=True)
        (tmp_path / directory / "f").write_text("x")
    os.mkfifo(tmp_path / "t" / "fifo")
    (tmp_path / "beside").write_text("stays")
    before = len(os.listdir("/proc/self/fd"))
    remove_tree(dir_fd, b"t")
    assert os.listdir(tmp_path) == ["beside"]
    assert len(os.listdir("/proc/self/fd")) == before


def test_symbolic_links_are_removed_and_not_followed(tmp_path: Path, dir_fd: int) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_text("mine")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "link").symlink_to("../outside")
    (tmp_path / "top-link").symlink_to("outside")
    remove_tree(dir_fd, b"t")
    remove_tree(dir_fd, b"top-link")
    assert sorted(os.listdir(tmp_path)) == ["outside"]
    assert (tmp_path / "outside" / "f").read_text() == "mine"


def test_what_is_not_there_is_no_error(dir_fd: int) -> None:
    remove_tree(dir_fd, b"absent")


def test_a_deep_tree_needs_no_deep_python(tmp_path: Path, dir_fd: int) -> None:
    current = os.dup(dir_fd)
    for _ in range(500):
        os.mkdir(b"d", dir_fd=current)
        below = os.open(b"d", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = below
    os.close(current)
    remove_tree(dir_fd, b"d")
    assert os.listdir(tmp_path) == []
