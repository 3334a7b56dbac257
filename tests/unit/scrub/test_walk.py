"""Walking both legs: what differs is suspected, in order, and an interrupted walk goes on."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import pytest

from twinfs.mirror.exclude import Excludes
from twinfs.scrub.judge import Known
from twinfs.scrub.objects import Objects, Row
from twinfs.scrub.plan import Plan
from twinfs.scrub.store import Store
from twinfs.scrub.todo import Suspicion, Todo
from twinfs.scrub.views import View
from twinfs.scrub.walk import Walk


class Ground:
    """Two legs with the same tree, whose times are equal, too."""

    def __init__(self, base: Path, store: Store) -> None:
        self.legs = base / "one", base / "two"
        self.store = store
        self.suspects: list[Suspicion] = []
        for leg in self.legs:
            leg.mkdir()
        self.fds = tuple(os.open(leg, os.O_RDONLY | os.O_DIRECTORY) for leg in self.legs)

    def both(self, path: str, content: bytes | None = None) -> None:
        for leg in self.legs:
            if content is None:
                (leg / path).mkdir()
            else:
                (leg / path).write_bytes(content)

    def settle(self) -> None:
        for leg in self.legs:
            for path in (leg, *leg.rglob("*")):
                os.utime(path, ns=(10**18, 10**18), follow_symlinks=False)

    def walk(
        self, exclude: tuple[str, ...] = (), plan: str = "full", done: bytes | None = None
    ) -> list[bytes]:
        self.suspects.clear()
        self.walked = Walk(
            (self.fds[0], self.fds[1]),
            self.store,
            Excludes(exclude),
            self.suspects.append,
            Plan.parse(plan).wants,
        )
        return list(self.walked.run(done))

    def paths(self) -> list[bytes]:
        return [suspicion.path for suspicion in self.suspects]

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def ground(tmp_path, store):
    made = Ground(tmp_path, store)
    yield made
    made.close()


@pytest.fixture
def tree(ground):
    for directory in ("b", "a", "a/deep", "a-b", "a/deep/er", "c"):
        ground.both(directory)
    for path in ("a/1", "a/deep/2", "a-b/3", "b/4", "5"):
        ground.both(path, path.encode())
    ground.settle()
    return ground


def test_a_directory_comes_before_what_is_in_it_and_names_are_sorted(tree):
    assert tree.walk() == [b"", b"a", b"a/deep", b"a/deep/er", b"a-b", b"b", b"c"]
    assert tree.suspects == []
    assert tree.walked.files == 11
    assert sorted(item.path for item in Todo(tree.store).items()) == [
        b"5",
        b"a-b/3",
        b"a/1",
        b"a/deep/2",
        b"b/4",
    ]


def test_after_an_interruption_it_goes_on_behind_the_last_directory(tree):
    order = tree.walk()
    for number, done in enumerate(order):
        assert tree.walk(done=done) == order[number + 1 :]


def test_every_difference_is_suspected_once(tree):
    one, two = tree.legs
    (two / "a/1").chmod(0o600)
    (two / "a/deep/2").write_bytes(b"longer than before")
    (one / "extra").mkdir()
    (two / "b/4").unlink()
    (two / "c").rmdir()
    (two / "c").write_bytes(b"")
    os.utime(two / "a-b", ns=(5, 5))
    tree.walk()
    assert tree.paths() == [b"c", b"extra", b"a/1", b"a/deep/2", b"a-b", b"b/4"]


def test_the_time_of_a_directory_is_told_only_where_nothing_else_explains_it(tree):
    (tree.legs[1] / "a/foreign").touch()
    tree.walk()
    assert tree.paths() == [b"a/foreign"]
    (tree.legs[1] / "a/foreign").unlink()
    tree.walk()
    assert tree.paths() == [b"a"]


def test_links_that_are_other_links_are_suspected(ground):
    for leg in ground.legs:
        (leg / "a").write_bytes(b"linked")
        os.link(leg / "a", leg / "b")
        (leg / "c").write_bytes(b"linked")
    os.unlink(ground.legs[1] / "b")
    os.link(ground.legs[1] / "c", ground.legs[1] / "b")
    ground.settle()
    ground.walk()
    assert ground.suspects == [Suspicion(b"b", b"a"), Suspicion(b"c", b"b")]


def test_our_own_and_fscks_directories_and_excluded_paths_are_left_out(tree):
    for path in (".twinfs", "lost+found"):
        (tree.legs[0] / path).mkdir()
    (tree.legs[0] / "x.tmp").touch()
    (tree.legs[1] / "y.tmp").touch()
    (tree.legs[0] / "cache").mkdir()
    (tree.legs[0] / "cache/file").touch()
    tree.settle()
    tree.walk(exclude=("*.tmp", "/cache/"))
    assert tree.suspects == []


def test_new_means_not_known_yet(tree):
    tree.walk()
    objects = Walk((tree.fds[0], tree.fds[1]), tree.store, Excludes(()), print, lambda known, view: True)
    for item in list(Todo(tree.store).items()):
        with tree.store.transaction():
            objects._objects.know_content(
                item.object, b"hash", item.size, 10**18, begun_ns=10**18, is_scrubbed=True
            )
            Todo(tree.store).remove(item)
    (tree.legs[0] / "5").write_bytes(b"changed")
    (tree.legs[1] / "5").write_bytes(b"changed")
    os.utime(tree.legs[0] / "5", ns=(7, 7))
    os.utime(tree.legs[1] / "5", ns=(7, 7))
    tree.walk(plan="new")
    assert [item.path for item in Todo(tree.store).items()] == [b"5"]


def test_memory_is_flat_in_the_number_of_files(ground):
    """Twelve directories of 150 cost no more than three do."""

    def peak() -> int:
        with ground.store.transaction():
            Todo(ground.store).clear()
        tracemalloc.start()
        ground.walk()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    def add(first: int, last: int) -> None:
        for number in range(first, last):
            ground.both(f"d{number:02}")
            for leg in ground.legs:
                for file in range(150):
                    os.close(os.open(leg / f"d{number:02}/{file}", os.O_CREAT | os.O_WRONLY))
        ground.settle()

    add(0, 3)
    peak()
    few = peak()
    add(3, 12)
    peak()
    assert peak() < few * 1.3


def row(mtime_ns: int, *, is_scrubbed: bool) -> Row:
    return Row(1, b"file", 7, Known(None, b"hash", 5, mtime_ns), 9, is_scrubbed=is_scrubbed)


def test_what_is_wanted_depends_on_the_record():
    view = View(0o100644, 0, 0, 0, 5, 6, b"", b"")
    new, full = Plan.parse("new"), Plan.parse("full")
    assert not new.wants(row(6, is_scrubbed=True), view)
    assert new.wants(row(7, is_scrubbed=True), view)
    assert new.wants(row(6, is_scrubbed=False), view)
    assert new.wants(None, view)
    assert full.wants(row(6, is_scrubbed=True), view)


def test_what_was_recorded_as_it_was_written_is_new_until_a_scrub_has_read_it(tree):
    tree.walk()
    objects = Objects(tree.store)
    for is_scrubbed, expected in ((False, True), (True, False), (False, True)):
        with tree.store.transaction():
            Todo(tree.store).clear()
            objects.know_content(
                objects.id_of(b"5"), b"hash", 1, 10**18, begun_ns=time.time_ns(), is_scrubbed=is_scrubbed
            )
        tree.walk(plan="new")
        assert (b"5" in [item.path for item in Todo(tree.store).items()]) == expected
