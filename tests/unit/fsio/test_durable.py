"""Replacing a small file."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinfs.fsio.durable import replace_file


@pytest.fixture
def dir_fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_the_new_file_has_the_data_and_the_mode(tmp_path: Path, dir_fd: int) -> None:
    (tmp_path / "f").write_text("old and longer")
    replace_file(dir_fd, b"f", b"new", 0o640)
    assert (tmp_path / "f").read_bytes() == b"new"
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["f"]


def test_the_order_is_data_durable_then_rename_then_directory_durable(
    tmp_path: Path, dir_fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def note_fsync(fd: int) -> None:
        done.append("fsync directory" if fd == dir_fd else "fsync file")
        fsync(fd)

    def note_rename(old: bytes, new: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        done.append("rename")
        rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    replace_file(dir_fd, b"f", b"new")
    assert done == ["fsync file", "rename", "fsync directory"]


def test_a_failure_before_the_rename_leaves_the_old_file(
    tmp_path: Path, dir_fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "a dying disk")

    (tmp_path / "f").write_text("old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="dying"):
        replace_file(dir_fd, b"f", b"new")
    assert (tmp_path / "f").read_text() == "old"


def test_a_symbolic_link_in_the_temporarys_place_is_not_followed(tmp_path: Path, dir_fd: int) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "f.new").symlink_to("victim")
    with pytest.raises(OSError):
        replace_file(dir_fd, b"f", b"new")
    assert (tmp_path / "victim").read_text() == "mine"
