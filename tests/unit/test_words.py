"""Figures and names in sentences."""

from __future__ import annotations

from twinfs.words import count, some_of


def test_one_is_one_and_all_others_are_many() -> None:
    assert [count(number, "file") for number in (0, 1, 2, 1234)] == [
        "0 files",
        "1 file",
        "2 files",
        "1,234 files",
    ]
    assert [count(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]


def test_some_names_stand_for_many() -> None:
    names = [b"%d" % number for number in range(7)]
    assert some_of(names[:2]) == "0, 1"
    assert some_of(names) == "0, 1, 2, 3, 4 and 2 more"
    assert some_of(names[:5], 1005) == "0, 1, 2, 3, 4 and 1,000 more"
    assert some_of([b""]) == "(everything)"
