"""What the volume changes is known no more; what it renames is known under its new name."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from twinfs.journal.log import IntentLog
from twinfs.journal.records import Abort, Commit, Exclude, Remove, Rename, Stale
from twinfs.scrub.changes import Changes, forget_what_log_names
from twinfs.scrub.objects import Objects
from twinfs.scrub.store import Store
from twinfs.scrub.views import View

FILE = View(stat.S_IFREG | 0o644, 1, 2, 0, 10, 1_000, b"", b"")


def know(store: Store, path: bytes, ident: int, content: bytes = b"hash") -> None:
    objects = Objects(store)
    with store.transaction():
        identity = objects.id_of(path)
        objects.know_metadata(identity, ident, FILE)
        objects.know_content(identity, content, 10, 1_000, begun_ns=time.time_ns(), is_scrubbed=True)


def content_at(store: Store, path: bytes) -> bytes | None:
    row = Objects(store).at(path)
    return None if row is None else row.known.content


@pytest.fixture
def marked() -> set[int]:
    return set()


@pytest.fixture
def changes(tmp_path: Path, marked: set[int]) -> Changes:
    return Changes(tmp_path, marked.__contains__)


def test_a_marked_object_is_known_no_more(store, changes):
    know(store, b"d/file", 7)
    know(store, b"d/other", 8)
    changes.note(1, Stale(7, b"d/file", 0, 100))
    assert changes.has_changed(7)
    assert not changes.has_changed(8)
    changes.flush()
    row = Objects(store).at(b"d/file")
    assert row is not None
    assert row.known.content is None
    assert row.known.view is None
    assert content_at(store, b"d/other") == b"hash"
    assert not changes.has_changed(7)


def test_all_names_of_a_marked_file_are_forgotten(store, changes):
    know(store, b"one", 7)
    know(store, b"two", 7)
    changes.note(1, Stale(7, b"one", 0, 100))
    changes.flush()
    assert content_at(store, b"two") is None


def test_a_mark_of_the_metadata_leaves_the_content_known(store, changes):
    know(store, b"file", 7)
    changes.note(1, Stale(7, b"file", 0, 0))
    changes.flush()
    row = Objects(store).at(b"file")
    assert row is not None
    assert row.known.content == b"hash"
    assert row.known.view is None


def test_what_is_read_before_a_change_is_not_recorded_after_it(store, changes):
    know(store, b"file", 7)
    begun_ns = time.time_ns()
    changes.note(1, Stale(7, b"file", 0, 100))
    changes.flush()
    objects = Objects(store)
    with store.transaction():
        objects.know_content(objects.id_of(b"file"), b"old", 10, 1_000, begun_ns=begun_ns, is_scrubbed=True)
    assert content_at(store, b"file") is None


def test_an_object_that_is_still_marked_is_told_again(store, changes, marked):
    """A mark covers later writes, too, of which the log is not told."""
    know(store, b"file", 7)
    marked.add(7)
    changes.note(1, Stale(7, b"file", 0, 100))
    changes.flush()
    know(store, b"file", 7)
    marked.clear()
    changes.flush()
    assert content_at(store, b"file") is None
    know(store, b"file", 7)
    changes.flush()
    assert content_at(store, b"file") == b"hash"


def test_renames_take_what_is_known_along(store, changes):
    know(store, b"d/deep/file", 7)
    know(store, b"e/replaced", 8, b"replaced")
    for number, change in enumerate(
        (Rename(b"d", b"moved", False, 3), Rename(b"moved/deep/file", b"e/replaced", False, 7))
    ):
        changes.note(number, change)
        changes.note(number, Commit(0))
    changes.flush()
    assert content_at(store, b"e/replaced") == b"hash"
    assert content_at(store, b"d/deep/file") is None
    assert content_at(store, b"moved/deep/file") is None


def test_an_exchange_swaps_what_is_known(store, changes):
    know(store, b"a/one", 7, b"first")
    know(store, b"b/two", 8, b"second")
    changes.note(1, Rename(b"a/one", b"b/two", True, 7))
    changes.note(1, Commit(7))
    changes.flush()
    assert content_at(store, b"a/one") == b"second"
    assert content_at(store, b"b/two") == b"first"


@pytest.mark.parametrize("change", [Remove(b"file", False, True), Exclude(b"file")])
def test_what_is_removed_is_forgotten_but_not_what_was_refused(store, changes, change):
    know(store, b"file", 7)
    changes.note(1, change)
    changes.note(1, Abort())
    changes.flush()
    assert content_at(store, b"file") == b"hash"
    changes.note(2, change)
    changes.note(2, Commit(7))
    changes.flush()
    assert content_at(store, b"file") is None


def test_rows_below_a_forgotten_directory_go_at_the_next_scrub(store, changes):
    know(store, b"d/e/file", 7)
    changes.note(1, Exclude(b"d"))
    changes.note(1, Commit(0))
    changes.flush()
    with store.transaction():
        assert Objects(store).forget_orphans() == 2
    (left,) = store.db.execute("SELECT count(*) FROM object").fetchone()
    assert left == 1


def test_after_a_kill_the_log_that_is_left_tells_the_same(store, tmp_path):
    paths = b"written", b"renamed", b"removed", b"kept", b"refused"
    for number, path in enumerate(paths, 11):
        know(store, path, number)
    log = IntentLog(tmp_path, "volume")
    log.start([], 0)
    log.append(1, Stale(11, b"written", 0, 5))
    log.append(2, Rename(b"renamed", b"elsewhere", False, 12))
    log.append(2, Commit(12))
    log.append(3, Remove(b"removed", False, True))
    log.append(4, Remove(b"refused", False, True))
    log.append(4, Abort())
    log.close(is_clean=False)
    forget_what_log_names(tmp_path, "volume")
    forget_what_log_names(tmp_path, "volume")
    known = {
        path for path in (b"written", b"renamed", b"removed", b"kept", b"refused") if content_at(store, path)
    }
    assert known == {b"kept", b"refused"}


def test_the_log_tells_before_it_forgets(tmp_path):
    told = []
    log = IntentLog(tmp_path, "volume")
    log.start([], 0)
    log.on_record = lambda number, record: told.append(record)
    log.before_forgetting = lambda: told.append("forgets")
    log.append(1, Stale(1, b"a", 0, 5))
    log.owe(2, Commit(1))
    log.reset()
    log.start([], 2)
    log.close(is_clean=False)
    assert told == [Stale(1, b"a", 0, 5), Commit(1), "forgets", "forgets"]


def test_without_a_store_nothing_is_written(tmp_path):
    changes = Changes(tmp_path, lambda ident: False)
    changes.note(1, Stale(7, b"file", 0, 100))
    changes.flush()
    assert list(tmp_path.iterdir()) == []
    assert not changes.has_changed(7)
