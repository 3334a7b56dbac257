"""Hashes of names, and names that ignore case."""

from __future__ import annotations

import pytest

from twinfs.images.xfs.names import fold, hash_of, is_possible


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # As xfs_db's `hash` command prints them.
        (b".", 0x2E),
        (b"..", 0x172E),
        (b"abc", 0x187163),
        (b"abcd", 0xC38B1E4),
        (b"frame000000.tst", 0xA3A040B4),
        (b"attribute_267", 0x3437D1A8),
        (b"n" * 255, 0xDC000000),
    ],
)
def test_hashes_are_the_debugger_s(name, expected):
    assert hash_of(name) == expected


def test_folding_changes_ascii_and_latin_1_letters_only():
    assert fold(b"NaMe-1_[\xc4\xd7\xde\xdf\xff]") == b"name-1_[\xe4\xd7\xfe\xdf\xff]"


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0", b"/"])
def test_some_names_are_in_no_directory(name):
    assert not is_possible(name)


def test_most_names_are_possible():
    assert all(is_possible(name) for name in (b"...", b" ", b"\n", b"\xff", b".a"))
