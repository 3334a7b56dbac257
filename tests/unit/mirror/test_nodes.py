"""The kernel's references: counted exactly, whatever comes in whatever order."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from twinfs.fsio.tree import remove_tree
from twinfs.mirror.nodes import ROOT_ID, Node, NodeTable
from unit.mirror.kit import Pair

NAMES = st.sampled_from([b"a", b"b", b"c"])


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class KernelMachine(RuleBasedStateMachine):
    """Does to a real directory what callers do, tells the table, and forgets at random."""

    def __init__(self) -> None:
        super().__init__()
        # In memory, where numbers are not used again: the same draws then do the same.
        place = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.scratch = tempfile.TemporaryDirectory(prefix="twinfs-nodes-", dir=place)
        self.before = open_descriptors()
        self.root_fd = os.open(self.scratch.name, os.O_RDONLY | os.O_DIRECTORY)
        self.table = NodeTable(self.root_fd)
        self.lookups: dict[int, int] = {}

    def live_directories(self) -> list[Node]:
        known = [self.table[ident] for ident in [ROOT_ID, *self.lookups]]
        return [node for node in known if node.is_named and os.path.isdir(self.place(node.path()))]

    def place(self, path: bytes) -> bytes:
        return os.path.join(os.fsencode(self.scratch.name), path)

    def pick(self, data: st.DataObject) -> Node:
        found = self.live_directories()
        return found[data.draw(st.integers(0, len(found) - 1))]

    def look(self, parent: Node, name: bytes) -> Node:
        status = os.stat(name, dir_fd=self.table.directory(parent), follow_symlinks=False)
        node = self.table.know(parent, name, status)
        assert self.place(parent.child_path(name)) == self.place(parent.path()).rstrip(b"/") + b"/" + name
        self.table.looked_up(node)
        self.lookups[node.ident] = self.lookups.get(node.ident, 0) + 1
        return node

    @rule(data=st.data(), name=NAMES, is_directory=st.booleans())
    def make(self, data: st.DataObject, name: bytes, is_directory: bool) -> None:
        parent = self.pick(data)
        path = self.place(parent.child_path(name))
        if os.path.lexists(path):
            return
        if is_directory:
            os.mkdir(path)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        self.look(parent, name)

    @rule(data=st.data(), name=NAMES)
    def look_up(self, data: st.DataObject, name: bytes) -> None:
        parent = self.pick(data)
        if os.path.lexists(self.place(parent.child_path(name))):
            self.look(parent, name)

    @rule(data=st.data(), name=NAMES, new_name=NAMES)
    def link(self, data: st.DataObject, name: bytes, new_name: bytes) -> None:
        parent, new_parent = self.pick(data), self.pick(data)
        source, path = self.place(parent.child_path(name)), self.place(new_parent.child_path(new_name))
        if os.path.isfile(source) and not os.path.lexists(path):
            os.link(source, path)
            self.look(new_parent, new_name)

    @rule(data=st.data(), name=NAMES)
    def remove(self, data: st.DataObject, name: bytes) -> None:
        parent = self.pick(data)
        path = self.place(parent.child_path(name))
        if not os.path.lexists(path):
            return
        status = os.lstat(path)
        node = self.table.get(self.table.ident_of(status))
        is_directory = os.path.isdir(path)
        if is_directory and os.listdir(path):
            return
        if is_directory and node is not None:
            self.table.directory(node)
            self.table.keep_removed_directory(node)
        (os.rmdir if is_directory else os.unlink)(path)
        if node is not None:
            self.table.forget_name(node, parent, name, is_last=is_directory or status.st_nlink == 1)

    @rule(data=st.data(), name=NAMES, new_name=NAMES)
    def rename(self, data: st.DataObject, name: bytes, new_name: bytes) -> None:
        parent, new_parent = self.pick(data), self.pick(data)
        source, path = self.place(parent.child_path(name)), self.place(new_parent.child_path(new_name))
        if not os.path.lexists(source) or os.path.lexists(path) or path.startswith(source + b"/"):
            return
        node = self.table.know(parent, name, os.lstat(source))
        self.table.pin(node)
        os.rename(source, path)
        self.table.move(node, (parent, name), (new_parent, new_name))
        self.table.unpin(node)

    @precondition(lambda self: self.lookups)
    @rule(data=st.data(), is_all=st.booleans())
    def forget(self, data: st.DataObject, is_all: bool) -> None:
        ident = list(self.lookups)[data.draw(st.integers(0, len(self.lookups) - 1))]
        count = self.lookups[ident] if is_all else 1
        self.lookups[ident] -= count
        if not self.lookups[ident]:
            del self.lookups[ident]
        self.table.forget(ident, count)

    @invariant()
    def every_path_leads_to_its_object(self) -> None:
        for ident in self.lookups:
            node = self.table[ident]
            if node.is_named and not node.is_removed:
                assert self.table.ident_of(os.lstat(self.place(node.path()))) == ident

    def teardown(self) -> None:
        for ident, count in list(self.lookups.items()):
            self.table.forget(ident, count)
        assert len(self.table) == 1, "only the root remains"
        assert self.table.root.refs == 1
        # No descriptor of a directory outlives its node.
        assert open_descriptors() == self.before + 1
        self.table.close()
        os.close(self.root_fd)
        self.scratch.cleanup()


KernelMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestNodesAreCountedExactly = KernelMachine.TestCase


def look(pair: Pair, parent: Node, name: bytes) -> Node:
    status = os.stat(name, dir_fd=pair.nodes.directory(parent), follow_symlinks=False)
    node = pair.nodes.know(parent, name, status)
    pair.nodes.looked_up(node)
    return node


def test_the_root_is_number_one_and_never_forgotten(pair: Pair) -> None:
    assert pair.nodes[ROOT_ID] is pair.nodes.root
    pair.nodes.forget(ROOT_ID, 1000)
    assert pair.nodes[ROOT_ID].path() == b""


def test_a_number_that_was_never_given_is_stale(pair: Pair) -> None:
    with pytest.raises(OSError, match=r"[Ss]tale"):
        pair.nodes[12345]


def test_a_renamed_directory_moves_all_below_without_being_told(pair: Pair) -> None:
    (pair.primary / "d" / "e").mkdir(parents=True)
    outer = look(pair, pair.nodes.root, b"d")
    inner = look(pair, outer, b"e")
    descriptor = pair.nodes.directory(inner)
    (pair.primary / "d").rename(pair.primary / "f")
    pair.nodes.move(outer, (pair.nodes.root, b"d"), (pair.nodes.root, b"f"))
    assert inner.path() == b"f/e"
    assert os.fstat(descriptor).st_ino == (pair.primary / "f" / "e").stat().st_ino
    pair.nodes.close()


def test_a_hard_linked_file_goes_on_under_its_other_name(pair: Pair) -> None:
    (pair.primary / "a").touch()
    os.link(pair.primary / "a", pair.primary / "b")
    node = look(pair, pair.nodes.root, b"a")
    assert look(pair, pair.nodes.root, b"b") is node
    assert sorted(name for _, name in pair.nodes.names(node)) == [b"a", b"b"]
    pair.nodes.forget_name(node, pair.nodes.root, b"a", is_last=False)
    assert node.path() == b"b"
    pair.nodes.forget_name(node, pair.nodes.root, b"b", is_last=True)
    assert not node.is_named and node.is_removed


def test_a_number_used_again_is_another_generation(pair: Pair) -> None:
    (pair.primary / "a").touch()
    status = (pair.primary / "a").lstat()
    old = look(pair, pair.nodes.root, b"a")
    pair.nodes.forget_name(old, pair.nodes.root, b"a", is_last=True)
    new = pair.nodes.know(pair.nodes.root, b"b", status)
    pair.nodes.looked_up(new)
    assert new is not old
    assert (new.ident, new.generation) == (old.ident, old.generation + 1)
    pair.nodes.forget(new.ident, 2)
    assert len(pair.nodes) == 1


def test_a_removed_directory_keeps_its_descriptor_until_it_is_forgotten(pair: Pair) -> None:
    (pair.primary / "d").mkdir()
    before = open_descriptors()
    node = look(pair, pair.nodes.root, b"d")
    pair.nodes.directory(node)
    pair.nodes.keep_removed_directory(node)
    (pair.primary / "d").rmdir()
    pair.nodes.forget_name(node, pair.nodes.root, b"d", is_last=True)
    assert os.fstat(pair.nodes.directory(node)).st_nlink == 0
    pair.nodes.forget(node.ident, 1)
    assert open_descriptors() == before


def test_more_directories_than_are_kept_open_still_work(pair: Pair) -> None:
    before = open_descriptors()
    nodes = []
    pair.nodes._kept = 100
    for index in range(300):
        (pair.primary / str(index)).mkdir()
        nodes.append(look(pair, pair.nodes.root, b"%d" % index))
        pair.nodes.directory(nodes[-1])
    assert open_descriptors() - before <= 101
    for index, node in enumerate(nodes):
        assert os.fstat(pair.nodes.directory(node)).st_ino == (pair.primary / str(index)).stat().st_ino
    pair.nodes.close()
    assert open_descriptors() == before


def test_a_path_of_a_thousand_names_costs_no_deep_python(pair: Pair) -> None:
    node, current = pair.nodes.root, os.dup(pair.primary_fd)
    pair.nodes._kept, pair.nodes._deepest = 8000, 1500
    for _ in range(1200):
        os.mkdir(b"dd", dir_fd=current)
        below = os.open(b"dd", os.O_RDONLY, dir_fd=current)
        node = pair.nodes.know(node, b"dd", os.fstat(below))
        os.close(current)
        current = below
    inode = os.fstat(current).st_ino
    os.close(current)
    assert os.fstat(pair.nodes.directory(node)).st_ino == inode
    assert node.path().count(b"/") == 1199
    pair.nodes.close()
    remove_tree(pair.primary_fd, b"dd")  # pytest's own cleaning up is recursive


def test_a_path_too_deep_for_the_descriptors_there_are_is_refused_and_not_half_opened(pair: Pair) -> None:
    pair.nodes._deepest = 5
    (pair.primary / "d/d/d/d/d/d/d").mkdir(parents=True)
    node, before = pair.nodes.root, open_descriptors()
    for _ in range(7):
        place = os.fsdecode(node.path() + b"/d").lstrip("/")
        node = pair.nodes.know(node, b"d", os.lstat(pair.primary / place))
    with pytest.raises(OSError) as caught:
        pair.nodes.directory(node)
    assert caught.value.errno == errno.ENAMETOOLONG
    assert open_descriptors() == before


def test_objects_of_another_file_system_get_numbers_of_their_own(pair: Pair) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("no second file system")
    status = os.stat("/proc")
    assert pair.nodes.is_foreign(status)
    assert pair.nodes.ident_of(status) == pair.nodes.ident_of(status) >= 1 << 62
    assert pair.nodes.ident_of(os.stat("/proc/version")) != pair.nodes.ident_of(status)
