"""What pending changes delete is counted by what is on the secondary, under the names it has there."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinfs.journal.records import Create, Exclude, Link, NameChange, Remove, Rename
from twinfs.mirror.deletions import could_be_deleted, count_deletions, count_files
from twinfs.mirror.plan import Change


@pytest.fixture
def leg(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield tmp_path, fd
    os.close(fd)


def changes(*names: NameChange, is_waited_for: bool = False) -> list[Change]:
    return [
        Change(number, each, number, 0.0, is_waited_for=is_waited_for)
        for number, each in enumerate(names, start=1)
    ]


def created(path: str, kind: int = stat.S_IFREG) -> Create:
    return Create(path.encode(), kind | 0o755, 0, 0, 0, b"")


def removed(path: str, *, is_directory: bool = False) -> Remove:
    return Remove(path.encode(), is_directory, True)


def renamed(source: str, path: str, *, is_exchange: bool = False) -> Rename:
    return Rename(source.encode(), path.encode(), is_exchange, 1)


def make_files(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")


CASES = {
    "there": ([removed("a/x")], 1),
    "never there": ([removed("a/new")], 0),
    "a link to what is there": ([Link(b"a/x", b"l"), removed("l")], 0),
    "moved first": ([renamed("a/x", "b"), removed("b")], 1),
    "its directory moved first": ([renamed("a", "c/a"), removed("c/a/x"), removed("c/a/y")], 2),
    "made again": ([removed("a/x"), created("a/x"), removed("a/x"), created("a/x")], 1),
    "made, moved, removed": ([created("n"), renamed("n", "m"), removed("m")], 0),
    "moved away, and another made there": ([renamed("a/x", "k"), created("a/x"), removed("a/x")], 0),
    "exchanged": ([created("n"), renamed("n", "a/x", is_exchange=True), removed("a/x"), removed("n")], 1),
    "directories exchanged": ([renamed("a", "d", is_exchange=True), removed("a/z"), removed("d/x")], 2),
    "replaced": ([created("n"), renamed("n", "a/x"), removed("a/x")], 0),
    "in a new directory": ([created("new", stat.S_IFDIR), renamed("a/x", "new/x"), removed("new/x")], 1),
    "its directory": ([removed("e", is_directory=True)], 0),
    "left the mirror": ([renamed("a", "c/a"), Exclude(b"c/a")], 2),
    "made, then left the mirror": ([created("n"), Exclude(b"n")], 0),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_counted(leg: tuple[Path, int], name: str) -> None:
    root, fd = leg
    make_files(root, "a/x", "a/y", "d/z", "c/keep", "e/w")
    names, expected = CASES[name]
    assert count_deletions(fd, changes(*names)) == expected
    assert could_be_deleted(changes(*names)) >= expected


def test_what_is_waited_for_or_allowed_is_not_counted_but_moves_names(leg: tuple[Path, int]) -> None:
    root, fd = leg
    make_files(root, "a/x", "a/y")
    pending = changes(removed("a/y"), renamed("a", "b"), removed("b/x"))
    assert count_deletions(fd, pending, after=1) == 1
    assert count_deletions(fd, changes(removed("a/x"), is_waited_for=True)) == 0


def test_a_rename_that_was_done_before_a_kill_hides_nothing(leg: tuple[Path, int]) -> None:
    root, fd = leg
    make_files(root, "b/x", "b/y")
    assert count_deletions(fd, changes(renamed("a", "b"), removed("b/x"), removed("b/y"))) == 2


def test_as_many_as_are_gone_in_the_end(leg: tuple[Path, int]) -> None:
    """Random changes on a small tree: what is counted is what was there and has no name any more."""
    root, fd = leg
    originals = [f"{directory}/{name}" for directory in "abc" for name in "stuvw"]
    make_files(root, *originals)
    for seed in range(200):
        rng = random.Random(seed)
        at = {path: path for path in originals}  # where it is now: what it is, "" for what is new
        names: list[NameChange] = []
        for number in range(40):
            path = rng.choice(sorted(at))
            match rng.randrange(4):
                case 0:
                    names.append(removed(path))
                    del at[path]
                case 1:
                    to = f"{rng.choice('abc')}/moved{number}"
                    names.append(renamed(path, to))
                    at[to] = at.pop(path)
                case 2:
                    to = f"{rng.choice('abc')}/{rng.choice('stuvw')}"
                    if to not in at:
                        names.append(created(to))
                        at[to] = ""
                case _:
                    other = rng.choice(sorted(at))
                    if other != path:
                        names.append(renamed(path, other, is_exchange=True))
                        at[path], at[other] = at[other], at[path]
            if len(at) < 3:
                break
        gone = set(originals) - set(at.values())
        assert count_deletions(fd, changes(*names)) == len(gone), seed


def test_counting_goes_no_further_than_it_must(tmp_path: Path) -> None:
    (tmp_path / ".twinfs").mkdir()
    (tmp_path / ".twinfs" / "label.json").write_text("ours")
    (tmp_path / "directory" / "below").mkdir(parents=True)
    for number in range(5):
        (tmp_path / "directory" / "below" / str(number)).write_text("")
    (tmp_path / "link").symlink_to("directory")
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert count_files(fd, b"") == 6
        assert count_files(fd, b"directory") == 5
        assert count_files(fd, b"directory/below/3") == 1
        assert count_files(fd, b"not there") == 0
        assert count_files(fd, b"", 1) == 1
    finally:
        os.close(fd)
