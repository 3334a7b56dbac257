"""Copying ranges between descriptors: any layout of data and holes, onto any other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twinfs.fsio import copy
from twinfs.fsio.copy import UnreadableError, copy_range, data_extents

BLOCK = 4096

layouts = st.lists(st.sampled_from("hdz"), max_size=12).map("".join)
"""A file, a block a letter: a hole, data, or zeros that were written."""


@contextmanager
def opened(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    fd = os.open(path, flags, 0o644)
    try:
        yield fd
    finally:
        os.close(fd)


def lay_out(fd: int, layout: str, seed: int, tail: int = 0) -> None:
    os.ftruncate(fd, 0)
    for index, kind in enumerate(layout):
        if kind != "h":
            block = bytes(BLOCK) if kind == "z" else bytes([1 + (seed + index) % 255]) * BLOCK
            os.pwrite(fd, block, index * BLOCK)
    os.ftruncate(fd, len(layout) * BLOCK + tail)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layouts, layouts, st.integers(0, 13 * BLOCK), st.integers(0, 13 * BLOCK), st.integers(0, 100))
def test_a_range_reads_like_the_source_and_the_rest_stays_as_it_was(
    tmp_path: Path, source: str, destination: str, start: int, end: int, tail: int
) -> None:
    with opened(tmp_path / "source") as source_fd, opened(tmp_path / "destination") as destination_fd:
        lay_out(source_fd, source, 1, tail)
        lay_out(destination_fd, destination, 100)
        old, new = (tmp_path / "destination").read_bytes(), (tmp_path / "source").read_bytes()
        start, end = min(start, len(new)), min(end, len(new))
        copy_range(source_fd, destination_fd, start, end)
        result = (tmp_path / "destination").read_bytes()
    size = max(len(old), len(result))
    expected = bytearray(old.ljust(size, b"\0"))
    expected[start:end] = new[start:end]
    if start >= end:
        expected = bytearray(old)
    assert result.ljust(len(expected), b"\0") == bytes(expected)


def test_a_hole_of_the_source_becomes_a_hole_where_data_was(tmp_path: Path) -> None:
    with opened(tmp_path / "source") as source_fd, opened(tmp_path / "destination") as destination_fd:
        lay_out(source_fd, "h" * 200 + "d", 1)
        lay_out(destination_fd, "d" * 201, 7)
        before = os.fstat(destination_fd).st_blocks
        copy_range(source_fd, destination_fd, 0, 201 * BLOCK)
        assert os.fstat(destination_fd).st_blocks <= before // 10
    assert (tmp_path / "source").read_bytes() == (tmp_path / "destination").read_bytes()


def test_where_holes_cannot_be_punched_zeros_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, offset_bytes: int, length_bytes: int) -> None:
        raise OSError(95, "no holes on this file system")

    monkeypatch.setattr(copy, "punch_hole", refuse)
    with opened(tmp_path / "source") as source_fd, opened(tmp_path / "destination") as destination_fd:
        lay_out(source_fd, "hdhhd", 1)
        lay_out(destination_fd, "ddddd", 9)
        copy_range(source_fd, destination_fd, 0, 5 * BLOCK)
    assert (tmp_path / "source").read_bytes() == (tmp_path / "destination").read_bytes()


def test_a_source_that_shrinks_meanwhile_ends_the_copy_early(tmp_path: Path) -> None:
    with opened(tmp_path / "source") as source_fd, opened(tmp_path / "destination") as destination_fd:
        lay_out(source_fd, "dd", 1)
        copy_range(source_fd, destination_fd, 0, 50 * BLOCK)
    assert (tmp_path / "source").read_bytes() == (tmp_path / "destination").read_bytes()


def test_every_byte_sent_is_counted_and_holes_are_not(tmp_path: Path) -> None:
    counted: list[int] = []
    with opened(tmp_path / "source") as source_fd, opened(tmp_path / "destination") as destination_fd:
        lay_out(source_fd, "dhhhd", 1)
        copy_range(source_fd, destination_fd, 0, 5 * BLOCK, counted.append)
    assert sum(counted) == 2 * BLOCK


def test_extents_end_where_the_range_ends(tmp_path: Path) -> None:
    with opened(tmp_path / "source") as fd:
        lay_out(fd, "hddhd", 1)
        assert list(data_extents(fd, 0, 2 * BLOCK)) == [(BLOCK, 2 * BLOCK)]
        assert list(data_extents(fd, 3 * BLOCK, 4 * BLOCK)) == []
        assert list(data_extents(fd, 10 * BLOCK, 20 * BLOCK)) == []


def test_it_is_told_whether_what_is_read_fails_or_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a" * 10_000)
    (tmp_path / "b").write_bytes(b"b" * 10_000)
    flags = ((os.O_WRONLY, os.O_RDWR, UnreadableError), (os.O_RDONLY, os.O_RDONLY, OSError))
    for source_flags, target_flags, wanted in flags:
        source, target = os.open(tmp_path / "a", source_flags), os.open(tmp_path / "b", target_flags)
        try:
            with pytest.raises(OSError, match="Bad file descriptor") as raised:
                copy_range(source, target, 0, 10_000)
            assert type(raised.value) is wanted
        finally:
            os.close(source)
            os.close(target)
