"""Announced, not committed: what the primary itself says."""

from __future__ import annotations

import os

from twinfs.fsio.syscalls import RENAME_EXCHANGE, renameat2
from twinfs.journal.records import Create, Exclude, Link, NameChange, Remove, Rename
from twinfs.mirror.doubt import outcome
from unit.mirror.kit import Pair


def ask(pair: Pair, change: NameChange) -> int | None:
    return outcome(pair.primary_fd, change, pair.nodes.ident_of)


def inode(pair: Pair, name: str) -> int:
    return (pair.primary / name).lstat().st_ino


def test_a_creation_is_done_when_the_name_is_there(pair: Pair) -> None:
    change = Create(b"f", 0o100644, 0, 0, 0, b"")
    assert ask(pair, change) is None
    (pair.primary / "f").touch()
    assert ask(pair, change) == inode(pair, "f")


def test_a_creation_below_a_missing_directory_is_not_done(pair: Pair) -> None:
    assert ask(pair, Create(b"gone/f", 0o100644, 0, 0, 0, b"")) is None


def test_a_link_is_done_only_when_both_names_are_one_file(pair: Pair) -> None:
    (pair.primary / "a").touch()
    assert ask(pair, Link(b"a", b"b")) is None
    (pair.primary / "b").touch()
    assert ask(pair, Link(b"a", b"b")) is None
    (pair.primary / "b").unlink()
    os.link(pair.primary / "a", pair.primary / "b")
    assert ask(pair, Link(b"a", b"b")) == inode(pair, "a")


def test_a_rename_is_done_when_the_object_stands_at_its_new_name(pair: Pair) -> None:
    (pair.primary / "a").touch()
    (pair.primary / "b").touch()
    change = Rename(b"a", b"b", False, inode(pair, "a"))
    assert ask(pair, change) is None
    (pair.primary / "a").rename(pair.primary / "b")
    assert ask(pair, change) == inode(pair, "b")


def test_an_exchange_is_told_by_the_number(pair: Pair) -> None:
    (pair.primary / "a").touch()
    (pair.primary / "b").mkdir()
    change = Rename(b"a", b"b", True, inode(pair, "a"))
    assert ask(pair, change) is None
    renameat2(b"a", b"b", pair.primary_fd, pair.primary_fd, RENAME_EXCHANGE)
    assert ask(pair, change) == inode(pair, "b")
    renameat2(b"a", b"b", pair.primary_fd, pair.primary_fd, RENAME_EXCHANGE)
    assert ask(pair, change) is None


def test_a_removal_is_done_when_nothing_is_there(pair: Pair) -> None:
    (pair.primary / "f").touch()
    changes: list[NameChange] = [Remove(b"f", False, True), Exclude(b"f")]
    assert [ask(pair, change) for change in changes] == [None, None]
    (pair.primary / "f").unlink()
    assert [ask(pair, change) for change in changes] == [0, 0]


def test_a_dangling_symbolic_link_is_there(pair: Pair) -> None:
    (pair.primary / "l").symlink_to("/nowhere")
    assert ask(pair, Create(b"l", 0o120777, 0, 0, 0, b"/nowhere")) == inode(pair, "l")
    assert ask(pair, Remove(b"l", False, True)) is None
