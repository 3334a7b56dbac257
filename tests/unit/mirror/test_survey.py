"""Counting what a recovery would do, without changing anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.tree import snapshot
from twinfs.mirror.exclude import Excludes
from twinfs.mirror.survey import survey
from twinfs.model import Survey


@pytest.fixture
def legs(tmp_path: Path) -> tuple[Path, Path]:
    for leg in ("one", "two"):
        (tmp_path / leg / "same").mkdir(parents=True)
        (tmp_path / leg / ".twinfs").mkdir()
        (tmp_path / leg / ".twinfs/label").write_text(leg)
        (tmp_path / leg / "same/file").write_text("same")
        os.utime(tmp_path / leg / "same/file", ns=(1, 2))
    return tmp_path / "one", tmp_path / "two"


def look(one: Path, two: Path | None, *patterns: str) -> Survey:
    first = os.open(one, os.O_RDONLY)
    second = -1 if two is None else os.open(two, os.O_RDONLY)
    try:
        return survey(first, second, Excludes(patterns))
    finally:
        os.close(first)
        if second >= 0:
            os.close(second)


def test_equal_legs_have_nothing_to_copy(legs: tuple[Path, Path]) -> None:
    found = look(*legs)
    assert (found.files, found.bytes) == (2, 4)
    assert (found.missing, found.differing, found.extra, found.bytes_to_copy) == (0, 0, 0, 0)


def test_what_differs_is_counted_by_kind_and_named(legs: tuple[Path, Path]) -> None:
    one, two = legs
    (one / "new").write_bytes(b"x" * 100)
    (two / "old").mkdir()
    (two / "old/below").write_text("counted with its directory")
    (one / "same/file").write_text("SAME")
    (one / "skip.tmp").write_text("excluded")
    before = snapshot(one), snapshot(two)
    found = look(one, two, "*.tmp")
    assert (found.missing, found.differing, found.extra, found.bytes_to_copy) == (1, 1, 1, 104)
    assert set(found.examples) == {
        "missing on the secondary: new",
        "only on the secondary: old",
        "differs: same/file",
    }
    assert (snapshot(one), snapshot(two)) == before


def test_without_a_secondary_everything_is_missing(legs: tuple[Path, Path]) -> None:
    found = look(legs[0], None)
    assert (found.files, found.missing, found.bytes_to_copy) == (2, 2, 4)
