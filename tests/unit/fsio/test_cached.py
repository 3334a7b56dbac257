"""Asking for what is in the page cache brings nothing there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twinfs.fsio.cached import is_cached, read_cached

MIB = 1 << 20


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(MIB + 10))
    return path


def test_all_of_it_or_not(file: Path) -> None:
    fd = os.open(file, os.O_RDONLY)
    try:
        assert is_cached(fd, 0, MIB + 10)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        assert not is_cached(fd, 5, 1)
        assert not is_cached(fd, 5, 1), "asked, and brought there"
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(fd, 1, 8192)
        assert is_cached(fd, 8192, 4096)
        assert not is_cached(fd, 8191, 4097)
        assert not is_cached(fd, 8192, 4097)
    finally:
        os.close(fd)


def test_what_cannot_be_told_is_not_there(file: Path) -> None:
    read_end, write_end = os.pipe()
    assert not is_cached(read_end, 0, 1)
    os.close(read_end)
    os.close(write_end)


def test_reading_it_gives_what_is_there(file: Path) -> None:
    fd = os.open(file, os.O_RDONLY)
    try:
        buffer = bytearray(100)
        assert read_cached(fd, buffer, MIB) == 10
        assert buffer[:10] == file.read_bytes()[MIB:]
    finally:
        os.close(fd)
