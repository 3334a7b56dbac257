"""Two trees made different in every way become equal, and what only the secondary had is set aside."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from support.tree import assert_same, snapshot
from twinfs.fsio.tree import remove_tree
from twinfs.mirror.compare import Comparer, Trust
from twinfs.mirror.exclude import Excludes
from twinfs.mirror.versions import segments
from twinfs.mirror.versions.keeper import Keeper
from twinfs.mirror.versions.records import Gone, Why
from twinfs.mirror.versions.window import Window
from unit.mirror.kit import Pair

OLD_NS = 10**18


def same_time(path: Path) -> None:
    os.utime(path, ns=(OLD_NS, OLD_NS), follow_symlinks=False)


def test_trees_that_differ_in_every_way_become_equal_and_the_primary_is_untouched(pair: Pair) -> None:
    first, second = pair.primary, pair.secondary
    for leg, mark in ((first, "new"), (second, "old!")):
        for name in ("both", "d/both", "d/e/both"):
            (leg / name).parent.mkdir(parents=True, exist_ok=True)
            (leg / name).write_text(mark)
    (first / "only").write_text("only on the primary")
    (first / "tree" / "a" / "b").mkdir(parents=True)
    (first / "tree" / "a" / "b" / "f").write_text("deep")
    (first / "link").symlink_to("both")
    (first / "other-link").symlink_to("/x")
    os.symlink(b"\xff\xfe", os.fsencode(first / "odd-link"))
    os.mkfifo(first / "fifo")
    (first / "was-directory").write_text("a file now")
    (first / "was-file").mkdir()
    (first / "was-file" / "f").write_text("x")
    (first / "mode").write_text("same")
    (first / "mode").chmod(0o4750)
    os.setxattr(first / "mode", "user.a", b"1")
    with open(first / "holes", "wb") as file:
        file.truncate(8 << 20)

    (second / "extra").write_text("only here")
    (second / "d" / "extra").mkdir()
    (second / "d" / "extra" / "f").write_text("deep and only here")
    (second / "other-link").symlink_to("/y")
    (second / "link").mkdir()
    (second / "was-directory").mkdir()
    (second / "was-directory" / "inside").write_text("set aside, too")
    (second / "was-file").write_text("a file before")
    (second / "mode").write_text("same")
    os.setxattr(second / "mode", "user.b", b"2")
    for leg in (first, second):
        same_time(leg / "mode")
    before = snapshot(first)
    comparer = pair.compare()
    pair.assert_equal()
    assert snapshot(first) == before
    assert pair.quarantined() == {
        "extra": b"only here",
        "d/extra/f": b"deep and only here",
        "was-directory/inside": b"set aside, too",
        "was-file": b"a file before",
    }
    assert comparer.quarantine.moved == 6  # the old link and the directory in a link's place, too


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices and gives files away")
def test_devices_and_owners_are_compared(pair: Pair) -> None:
    for leg, minor in ((pair.primary, 3), (pair.secondary, 5)):
        os.mknod(leg / "null", 0o020666, os.makedev(1, minor))
        (leg / "f").write_text("x")
        same_time(leg / "f")
    os.chown(pair.primary / "f", 1234, 2345)
    pair.compare()
    pair.assert_equal()


def test_equal_trees_cost_no_copy_and_nothing_is_moved(pair: Pair) -> None:
    for leg in (pair.primary, pair.secondary):
        (leg / "d").mkdir()
        (leg / "d" / "f").write_text("same size and time")
        same_time(leg / "d" / "f")
    inode = (pair.secondary / "d" / "f").stat().st_ino
    comparer = pair.compare()
    assert (pair.secondary / "d" / "f").stat().st_ino == inode
    assert comparer.quarantine.moved == 0
    pair.assert_equal()


def test_with_distrust_equal_size_and_time_prove_nothing(pair: Pair) -> None:
    start_ns = time.time_ns()
    for leg, text in ((pair.primary, "good"), (pair.secondary, "lost")):
        (leg / "f").write_text(text)
        same_time(leg / "f")
    pair.compare()
    assert (pair.secondary / "f").read_text() == "lost"
    pair.compare(distrust_ns=time.time_ns() + 10**12)
    assert (pair.secondary / "f").read_text() == "lost"
    pair.compare(distrust_ns=start_ns - 10**9)
    assert (pair.secondary / "f").read_text() == "good"


def test_the_legs_own_directory_is_not_compared(pair: Pair) -> None:
    (pair.secondary / ".twinfs" / "label.json").write_text("mine")
    (pair.primary / ".twinfs" / "label.json").write_text("yours")
    pair.compare()
    assert (pair.secondary / ".twinfs" / "label.json").read_text() == "mine"


@pytest.mark.parametrize("is_deleting", [False, True])
def test_what_is_excluded_stays_or_goes_as_configured(pair: Pair, is_deleting: bool) -> None:
    for leg in (pair.primary, pair.secondary):
        (leg / "cache").mkdir()
        (leg / "cache" / "f").write_text(leg.name)
        (leg / "a.tmp").write_text(leg.name)
    (pair.secondary / "only.tmp").write_text("here")
    pair.compare(("*.tmp", "/cache/"), is_deleting_excluded=is_deleting)
    assert pair.quarantined() == {}
    left = {path.name for path in pair.secondary.iterdir()} - {".twinfs"}
    assert left == (set() if is_deleting else {"cache", "a.tmp", "only.tmp"})
    assert (pair.primary / "cache" / "f").read_text() == "primary"


def test_a_symbolic_link_to_a_directory_outside_is_set_aside_and_not_entered(
    pair: Pair, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_text("precious")
    (pair.primary / "d").mkdir()
    (pair.primary / "d" / "f").write_text("mine")
    (pair.secondary / "d").symlink_to(tmp_path / "outside")
    pair.compare()
    pair.assert_equal()
    assert (tmp_path / "outside" / "f").read_text() == "precious"


# Hard links: names are letters, and each leg says which names are one file.

groups = st.lists(st.sampled_from([None, 0, 1, 2]), min_size=5, max_size=5)


def build_links(leg: Path, partition: list[int | None], contents: list[str]) -> None:
    for index, name in enumerate("abcde"):
        group = partition[index]
        if group is None:
            continue
        first = leg / "abcde"[partition.index(group)]
        if first.name == name:
            first.write_text(contents[group])
            same_time(first)
        else:
            os.link(first, leg / name)


def contents(directory: Path) -> set[bytes]:
    return {path.read_bytes() for path in directory.rglob("[!.]*") if path.is_file()}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups, groups, st.booleans(), st.booleans())
@example([0, 0, 1, 1, None], [0, 0, 0, 0, None], False, False)
@example([0, 0, 1, 1, None], [0, 0, 0, 0, None], True, False)
@example([0, 1, None, None, None], [0, 0, None, None, None], False, True)
def test_any_structure_of_hard_links_becomes_the_primarys_and_where_one_keeps_nothing_is_lost(
    pair: Pair, wanted: list[int | None], present: list[int | None], is_equal: bool, is_keeping: bool
) -> None:
    for leg, fd in ((pair.primary, pair.primary_fd), (pair.secondary, pair.secondary_fd)):
        for name in os.listdir(leg):
            if name != ".twinfs":
                remove_tree(fd, os.fsencode(name))
    build_links(pair.primary, wanted, ["1", "22", "333"])
    # Where size and time are all that is looked at, what has one size has one content here.
    others = ["4", "22", "555"] if is_keeping else ["4444", "22", "55555"]
    build_links(pair.secondary, present, ["1", "22", "333"] if is_equal else others)
    shutil.rmtree(pair.secondary / ".twinfs/quarantine", ignore_errors=True)
    old = contents(pair.secondary)
    pair.compare(is_keeping=is_keeping, distrust_ns=int(is_keeping))
    assert not is_keeping or old <= contents(pair.secondary)
    # What is set aside may count as a name here; the test after the next is about that.
    assert_same(pair.primary, pair.secondary, ignore=frozenset({"nlink"}))


def test_what_is_set_aside_keeps_its_content_though_it_shared_a_file(pair: Pair) -> None:
    for leg, text in ((pair.primary, "new"), (pair.secondary, "old!")):
        (leg / "f").write_text(text)
        os.link(leg / "f", leg / ("g" if leg is pair.primary else "extra"))
    pair.compare()
    pair.assert_equal()
    assert pair.quarantined() == {"extra": b"old!"}


def test_no_content_is_lost_where_two_files_have_become_names_of_one(pair: Pair) -> None:
    """Neither of the name that is handled first, whose content changes, nor of the other, to be linked."""
    pair.applier.keeper = Keeper.on(pair.secondary_fd, Window(3600.0))
    (pair.primary / "a").write_text("of both")
    os.link(pair.primary / "a", pair.primary / "b")
    old = {"a": "this one", "b": "and that one"}
    for name, text in old.items():
        (pair.secondary / name).write_text(text)
    pair.compare()
    pair.assert_equal()
    kept = {past.read_text() for past in (pair.secondary / ".twinfs/versions").glob("*/[0-9]*")}
    assert kept == set(old.values())


def test_what_a_comparison_replaces_is_a_version_of_now(pair: Pair) -> None:
    """Not of the change of the log that was applied last, which may be of long ago."""
    keeper = pair.applier.keeper = Keeper.on(pair.secondary_fd, Window(3600.0))
    keeper.at(17, OLD_NS)
    (pair.primary / "a").write_text("of both")
    os.link(pair.primary / "a", pair.primary / "b")
    for name in ("a", "b"):
        (pair.secondary / name).write_text(f"as {name}")
    now = time.time_ns()
    pair.compare()
    records = [
        record
        for segment in segments.names(pair.secondary_fd)
        for record in segments.read(pair.secondary_fd, segment).records
    ]
    gone = [record for record in records if isinstance(record, Gone)]
    assert [(record.change, record.why) for record in gone] == [(0, Why.REPLACED)]
    assert gone[0].time_ns >= now


def test_where_one_keeps_equal_size_and_time_do_not_let_a_second_file_go(pair: Pair) -> None:
    (pair.primary / "a").write_text("same")
    os.link(pair.primary / "a", pair.primary / "b")
    for name in ("a", "b"):
        (pair.secondary / name).write_text(f"as {name}")
        same_time(pair.secondary / name)
    same_time(pair.primary / "a")
    pair.compare(is_keeping=True, distrust_ns=1)
    pair.assert_equal()
    assert set(pair.quarantined().values()) == {b"as a", b"as b"}


def test_a_copy_that_is_taken_as_equal_only_makes_room_for_the_second_name(pair: Pair) -> None:
    (pair.primary / "a").write_text("same")
    os.link(pair.primary / "a", pair.primary / "b")
    for path in (pair.primary / "a", pair.secondary / "a", pair.secondary / "b"):
        path.write_text("same")
        same_time(path)
    pair.compare()
    pair.assert_equal()
    assert pair.quarantined() == {}


def test_where_one_keeps_the_last_of_several_names_does_not_take_the_content_along(pair: Pair) -> None:
    """Equal in size and time, so that only what the names are of tells: each is to be a file of its own."""
    for name in ("a", "b"):
        (pair.primary / name).write_text("good")
        same_time(pair.primary / name)
    (pair.secondary / "a").write_text("MINE")
    os.link(pair.secondary / "a", pair.secondary / "b")
    same_time(pair.secondary / "a")
    pair.compare(is_keeping=True)
    pair.assert_equal()
    assert set(pair.quarantined().values()) == {b"MINE"}


def test_the_last_of_several_names_leaves_a_version_as_any_file_that_is_replaced(pair: Pair) -> None:
    pair.applier.keeper = Keeper.on(pair.secondary_fd, Window(3600.0))
    for name in ("a", "b"):
        (pair.primary / name).write_text("new")
    (pair.secondary / "a").write_text("old!")
    os.link(pair.secondary / "a", pair.secondary / "b")
    pair.compare()
    pair.assert_equal()
    assert [past.read_text() for past in (pair.secondary / ".twinfs/versions").glob("*/0")] == ["old!"]


def test_what_is_set_aside_is_no_name_of_a_file_in_use(pair: Pair) -> None:
    """Or the next write to that file in place would change it, too."""
    for leg in (pair.primary, pair.secondary):
        (leg / "f").write_text("same")
        same_time(leg / "f")
    os.link(pair.primary / "f", pair.primary / "g")
    os.link(pair.secondary / "f", pair.secondary / "extra")
    pair.compare()
    pair.assert_equal()
    (pair.secondary / "f").write_text("later")
    assert pair.quarantined() == {"extra": b"same"}


def test_a_look_at_one_name_sees_that_it_should_be_another_s(pair: Pair) -> None:
    """Hard-linked on the primary only: equal by size and time, and yet not what it should be."""
    for leg in (pair.primary, pair.secondary):
        (leg / "a").write_text("the same")
        same_time(leg / "a")
    os.link(pair.primary / "a", pair.primary / "b")
    (pair.secondary / "b").write_text("the same")
    same_time(pair.secondary / "b")
    comparer = Comparer(
        pair.primary_fd,
        pair.applier,
        Excludes(()),
        pair.nodes.ident_of,
        is_deleting_excluded=False,
        is_whole=False,
    )
    comparer.directory(b"", *comparer.look(b"b"), Trust())
    comparer.close()
    assert comparer.has_unknown_links
    pair.compare()
    pair.assert_equal()
