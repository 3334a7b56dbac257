"""Leaving out what comes and goes within a batch: the end is the same tree."""

from __future__ import annotations

import stat

from hypothesis import given, settings
from hypothesis import strategies as st

from twinfs.journal.records import Create, Link, NameChange, Remove, Rename
from twinfs.mirror.plan import Change, without_passing

FILE, DIRECTORY = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755


class ModelTree:
    """Names to objects. `strict` models refuse what a real tree would; replaying must never need to."""

    def __init__(self) -> None:
        self.names: dict[bytes, int] = {b"": 1, b"old": 2, b"d": 3}
        self.directories = {1, 3}

    def children(self, path: bytes) -> list[bytes]:
        return [name for name in self.names if name.startswith(path + b"/")]

    def has_parent(self, path: bytes) -> bool:
        return self.names.get(path.rpartition(b"/")[0]) in self.directories

    def count(self, ino: int) -> int:
        return list(self.names.values()).count(ino)

    def move(self, source: bytes, path: bytes) -> None:
        for name in [source, *self.children(source)]:
            self.names[path + name[len(source) :]] = self.names.pop(name)

    def apply(self, change: Change) -> None:
        match change.names:
            case Create(path, mode):
                assert path not in self.names and self.has_parent(path)
                self.names[path] = change.ino
                if stat.S_ISDIR(mode):
                    self.directories.add(change.ino)
            case Link(source, path):
                assert path not in self.names and self.has_parent(path)
                self.names[path] = self.names[source]
            case Remove(path):
                # In place of a rename over nothing there may be a removal of nothing.
                assert not self.children(path) and (path in self.names or not change.names.is_last)
                self.directories.discard(self.names.pop(path, 0))
            case Rename(source, path, True):
                self.move(source, b"\0")
                self.move(path, source)
                self.move(b"\0", path)
            case Rename(source, path):
                if self.names[source] == self.names.get(path):
                    return
                assert self.has_parent(path) and not self.children(path)
                if path in self.names:
                    self.directories.discard(self.names.pop(path))
                self.move(source, path)


PATHS = st.sampled_from([b"a", b"b", b"old", b"d", b"d/a", b"d/b", b"e"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["file", "file", "dir", "link", "remove", "rename", "swap"]), PATHS, PATHS),
    min_size=4,
    max_size=40,
)


def valid_change(tree: ModelTree, step: tuple[str, bytes, bytes], ino: int) -> tuple[NameChange, int] | None:
    """What the primary would have done and logged, or None where it refuses."""
    kind, source, path = step
    there = tree.names.get(source)
    is_directory = there in tree.directories
    target = tree.names.get(path)
    is_free = target is None and tree.has_parent(path)
    if kind in ("file", "dir"):
        mode = FILE if kind == "file" else DIRECTORY
        return (Create(path, mode, 0, 0, 0, b""), ino) if is_free else None
    if there is None:
        return None
    if kind == "link":
        return (Link(source, path), there) if is_free and not is_directory else None
    if kind == "remove":
        if tree.children(source):
            return None
        return Remove(source, is_directory, is_directory or tree.count(there) == 1), there
    if path.startswith(source + b"/") or source.startswith(path + b"/") or not tree.has_parent(path):
        return None
    if kind == "swap":
        return (Rename(source, path, True, there), there) if target is not None and path != source else None
    if tree.children(path) or (target is not None and (target in tree.directories) != is_directory):
        return None
    return Rename(source, path, False, there), there


def history(steps: list[tuple[str, bytes, bytes]]) -> tuple[list[Change], ModelTree]:
    """The changes that the steps make, with inode numbers used again as soon as they are free."""
    tree = ModelTree()
    changes: list[Change] = []
    for step in steps:
        free = next(number for number in range(4, 100) if number not in tree.names.values())
        found = valid_change(tree, step, free)
        if found is not None:
            changes.append(Change(len(changes) + 1, *found, 0.0))
            tree.apply(changes[-1])
    return changes, tree


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_the_planned_list_makes_the_same_tree_as_the_full_one(steps: list[tuple[str, bytes, bytes]]) -> None:
    changes, expected = history(steps)
    tree = ModelTree()
    planned = without_passing(changes)
    for change in planned:
        tree.apply(change)
    assert tree.names == expected.names
    assert len(planned) <= len(changes)
    numbers = [change.number for change in planned]
    assert numbers == sorted(set(numbers))


def files(*steps: tuple[str, bytes, bytes]) -> list[NameChange]:
    changes, _ = history(list(steps))
    assert len(changes) == len(steps), "a step was refused"
    return [change.names for change in without_passing(changes)]


def test_a_file_that_comes_and_goes_costs_nothing() -> None:
    assert (
        files(("file", b"", b"a"), ("link", b"a", b"b"), ("remove", b"a", b""), ("remove", b"b", b"")) == []
    )


def test_a_number_used_again_is_another_file() -> None:
    assert files(("file", b"", b"a"), ("remove", b"a", b""), ("file", b"", b"b"), ("file", b"", b"a")) == [
        Create(b"b", FILE, 0, 0, 0, b""),
        Create(b"a", FILE, 0, 0, 0, b""),
    ]


def test_a_passing_file_still_removes_what_it_was_renamed_over() -> None:
    assert files(("file", b"", b"a"), ("rename", b"a", b"old"), ("remove", b"old", b"")) == [
        Remove(b"old", False, False)
    ]


def test_a_file_that_keeps_another_name_stays() -> None:
    steps = [("file", b"", b"a"), ("link", b"a", b"b"), ("remove", b"a", b"")]
    assert len(files(*steps)) == 3


def test_directories_are_never_left_out() -> None:
    assert len(files(("dir", b"", b"e"), ("remove", b"e", b""))) == 2
