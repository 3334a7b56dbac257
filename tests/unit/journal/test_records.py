"""What a rename makes of paths."""

from __future__ import annotations

import pytest

from twinfs.journal.records import Create, Exclude, Link, Remove, Rename, parent_of, renamed, touched_by

MOVE = Rename(b"d", b"x/e", False, 7)
SWAP = Rename(b"d", b"e", True, 7)


@pytest.mark.parametrize(
    ("path", "after"),
    [
        (b"d", b"x/e"),
        (b"d/f/g", b"x/e/f/g"),
        (b"dd", b"dd"),
        (b"dd/f", b"dd/f"),
        (b"x/e", b"x/e"),
        (b"x/d", b"x/d"),
        (b"", b""),
    ],
)
def test_a_rename_moves_the_name_and_all_below_and_nothing_else(path: bytes, after: bytes) -> None:
    assert renamed(path, MOVE) == after


@pytest.mark.parametrize(("path", "after"), [(b"d", b"e"), (b"e", b"d"), (b"d/f", b"e/f"), (b"e/g", b"d/g")])
def test_an_exchange_moves_both_ways_and_twice_is_nothing(path: bytes, after: bytes) -> None:
    assert renamed(path, SWAP) == after
    assert renamed(renamed(path, SWAP), SWAP) == path


def test_a_change_touches_its_directories_and_what_is_new() -> None:
    assert set(touched_by(Create(b"d/f", 0, 0, 0, 0, b""))) == {b"d/f", b"d"}
    assert set(touched_by(Rename(b"d/f", b"e/g", False, 1))) == {b"d", b"e"}
    assert set(touched_by(Link(b"d/f", b"e/g"))) == {b"e", b"e/g"}
    assert set(touched_by(Remove(b"f", False, True))) == {b""}
    assert set(touched_by(Exclude(b"d/f"))) == {b"d"}


def test_the_parent_of_a_name_at_the_root_is_the_root() -> None:
    assert parent_of(b"f") == b""
    assert parent_of(b"d/e/f") == b"d/e"
