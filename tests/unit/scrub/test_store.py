"""The store: two connections, damage, the tables of a run."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from twinfs.errors import StateError
from twinfs.model import BadLeg, Mismatch, MismatchKind, ReadMethod
from twinfs.scrub.runs import ENDED, READING, Runs, interrupted_plan, last_scrub
from twinfs.scrub.store import FILE_NAME, Store
from twinfs.scrub.todo import MOST_TRIES, Suspects, Suspicion, Todo

READ = (ReadMethod.DIRECT, ReadMethod.DROPPED)


def test_a_damaged_store_is_set_aside(tmp_path):
    path = tmp_path / FILE_NAME
    path.write_bytes(b"no database at all" * 1000)
    store = Store(path)
    assert Runs(store).begin("full", READ) == (1, False)
    store.close()
    assert path.with_suffix(".damaged").read_bytes().startswith(b"no database")


def test_a_store_that_cannot_be_opened_is_not_damaged(tmp_path):
    path = tmp_path / FILE_NAME
    path.mkdir()
    with pytest.raises(StateError, match="unable to open"):
        Store(path)
    assert path.is_dir()


def test_a_disk_that_does_not_answer_is_an_error_of_the_store(tmp_path, monkeypatch):
    def refuse(fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("twinfs.scrub.store.file_system_magic", refuse)
    with pytest.raises(StateError, match=r"scrub\.db: Input/output error"):
        Store(tmp_path / FILE_NAME)


def test_a_store_that_lacks_a_table_is_set_aside(tmp_path):
    path = tmp_path / FILE_NAME
    store = Store(path)
    store.db.execute("DROP TABLE run")
    store.close()
    store = Store(path)
    assert Runs(store).begin("full", READ) == (1, False)
    store.close()
    assert path.with_suffix(".damaged").exists()


def test_a_store_of_another_version_is_begun_anew(tmp_path):
    path = tmp_path / FILE_NAME
    store = Store(path)
    Runs(store).begin("full", READ)
    store.db.execute("PRAGMA user_version = 99")
    store.close()
    store = Store(path)
    assert Runs(store).begin("full", READ) == (1, False)
    store.close()


def test_two_processes_share_it(store, tmp_path):
    other = Store(tmp_path / FILE_NAME)
    with store.transaction():
        Todo(store).add(1, b"path", 10, 0)
    assert Todo(other).totals() == (1, 10)
    other.close()


def test_a_transaction_that_fails_changes_nothing(store):
    try:
        with store.transaction():
            Todo(store).add(1, b"path", 10, 0)
            raise ValueError
    except ValueError:
        pass
    assert Todo(store).totals() == (0, 0)


def test_an_interrupted_run_goes_on_and_another_plan_begins_anew(store):
    runs = Runs(store)
    run, is_resumed = runs.begin("full", READ)
    assert not is_resumed
    with store.transaction():
        Todo(store).add(1, b"path", 10, 0)
        runs.set_phase(run, READING, b"last")
    assert runs.begin("full", READ) == (run, True)
    assert runs.phase(run) == (READING, b"last")
    assert Todo(store).totals() == (1, 10)
    assert runs.begin("new", READ) == (run + 1, False)
    assert Todo(store).totals() == (0, 0)


def test_a_run_that_was_interrupted_too_long_ago_begins_anew(store):
    runs = Runs(store)
    run, _ = runs.begin("full", READ)
    store.db.execute("UPDATE run SET started = started - 15 * 86400")
    assert runs.begin("full", READ) == (run + 1, False)


def test_a_finished_run_counts_what_it_found(store, tmp_path):
    runs = Runs(store)
    run, _ = runs.begin("full", READ)
    assert last_scrub(tmp_path) is None
    assert interrupted_plan(tmp_path) == "full"
    for number in range(3):
        mismatch = Mismatch(f"p{number}", MismatchKind.CONTENT, BadLeg.PRIMARY, repaired=False)
        runs.found(run, b"p%d" % number, mismatch)
    runs.found(run, b"p1", Mismatch("p1", MismatchKind.CONTENT, BadLeg.PRIMARY, repaired=True))
    runs.add(run, files=5, size=50, seconds=1.5)
    ended = runs.end(run)
    assert (ended.mismatches, ended.repaired, ended.files, ended.bytes) == (3, 1, 5, 50)
    assert ended.read == READ
    assert [found.path for found in runs.last_findings()] == ["p0", "p1", "p2"]
    assert runs.phase(run)[0] == ENDED
    assert runs.history() == [ended]
    summary = last_scrub(tmp_path)
    assert summary is not None
    assert (summary.mismatches, summary.repaired, summary.bytes) == (3, 1, 50)
    assert interrupted_plan(tmp_path) is None


def test_what_status_asks_of_a_damaged_store_is_no_error(tmp_path: Path):
    (tmp_path / FILE_NAME).write_bytes(b"damaged" * 100)
    assert last_scrub(tmp_path) is None
    with sqlite3.connect(tmp_path / "other"):
        pass
    assert interrupted_plan(tmp_path / "nowhere") is None


def test_a_share_is_of_the_bytes_and_the_longest_unscrubbed_first(store):
    todo = Todo(store)
    for number in range(10):
        todo.add(number, b"%d" % number, 100, scrubbed_ns=(number * 7) % 10)
    todo.keep_oldest(25)
    assert sorted(item.path for item in todo.items()) == [b"0", b"3", b"6"]
    todo.keep_oldest(1)
    assert [item.path for item in todo.items()] == [b"0"]


def test_a_share_of_empty_files_is_of_their_number(store):
    todo = Todo(store)
    for number in range(10):
        todo.add(number, b"%d" % number, 0, scrubbed_ns=number)
    todo.keep_oldest(30)
    assert todo.totals() == (3, 0)


def test_what_is_being_written_is_tried_again_but_not_for_ever(store):
    todo = Todo(store)
    todo.add(1, b"busy", 10, 0)
    for _ in range(MOST_TRIES - 1):
        (item,) = todo.items()
        assert todo.put_back(item, 11)
        assert todo.totals() == (1, 11)
    (item,) = todo.items()
    assert not todo.put_back(item, 11)
    assert todo.totals() == (0, 0)


def test_suspects_wait_in_line(store):
    suspects = Suspects(store)
    for path in (b"a", b"b"):
        suspects.add(Suspicion(path))
    suspects.add(Suspicion(b"a", b"link"))
    first = suspects.next()
    assert first == Suspicion(b"a", b"link")
    suspects.put_back(first)
    second = suspects.next()
    assert second == Suspicion(b"b")
    suspects.remove(second)
    assert suspects.next() == Suspicion(b"a", b"link", 1)
    assert suspects.count() == 1
