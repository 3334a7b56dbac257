"""What is in quarantine is told by notes, and by what is there."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from twinfs.mirror import quarantined
from twinfs.mirror.quarantine import Quarantine
from twinfs.mirror.quarantined import UNKNOWN, Entry, Stock
from twinfs.model import Role
from unit.mirror.kit import Pair

ODD = b"n\xf6n-utf8"


def every(pair: Pair) -> dict[bytes, Entry]:
    fd = pair.secondary_fd
    return {
        entry.path: entry
        for session in quarantined.sessions(fd)
        for entry in quarantined.entries(fd, session)
    }


@pytest.fixture
def taken(pair: Pair) -> Quarantine:
    """A file, one with an odd name, a directory with two files, a link, below directories that are made."""
    (pair.secondary / "d/e").mkdir(parents=True)
    (pair.secondary / "d/e/f").write_text("four")
    (pair.secondary / "d" / os.fsdecode(ODD)).write_text("odd")
    (pair.secondary / "tree/below").mkdir(parents=True)
    (pair.secondary / "tree/one").write_text("1")
    (pair.secondary / "tree/below/two").write_text("22")
    (pair.secondary / "link").symlink_to("nowhere")
    quarantine = Quarantine(pair.secondary_fd)
    quarantine.take(pair.applier.directory(b"d/e"), b"f", b"d/e/f", "for a test")
    quarantine.take(pair.applier.directory(b"d"), ODD, b"d/" + ODD)
    quarantine.take(pair.secondary_fd, b"tree", b"tree")
    quarantine.take(pair.secondary_fd, b"link", b"link")
    return quarantine


def notes_of(pair: Pair, quarantine: Quarantine) -> Path:
    return pair.secondary / f"{quarantine.folder}.jsonl"


def test_each_object_is_told_with_where_it_was_and_why(pair: Pair, taken: Quarantine) -> None:
    found = every(pair)
    assert set(found) == {b"d/e/f", b"d/" + ODD, b"tree", b"link"}
    assert (found[b"d/e/f"].why, found[b"d/e/f"].size) == ("for a test", 4)
    assert (found[b"link"].size, found[b"tree"].size) == (0, None)
    assert quarantined.measure(pair.secondary_fd, found[b"tree"].place) == 3
    assert all(quarantined.is_there(pair.secondary_fd, entry.place) for entry in found.values())


def test_notes_are_lines_of_json_for_others(pair: Pair, taken: Quarantine) -> None:
    first, odd, *_ = map(json.loads, notes_of(pair, taken).read_text().splitlines())
    assert (first["path"], first["leg"], first["bytes"]) == ("d/e/f", "secondary", 4)
    assert first["kept_as"] == f"{taken.folder}/d/e/f"
    assert odd["path"] == "d/n\\xf6n-utf8"


def test_what_no_note_names_is_told_all_the_same(pair: Pair, taken: Quarantine) -> None:
    notes = notes_of(pair, taken)
    lines = notes.read_bytes().splitlines(keepends=True)
    notes.write_bytes(lines[0] + lines[3][:25])
    found = every(pair)
    assert set(found) == {b"d/e/f", b"d/" + ODD, b"tree", b"link"}
    assert [found[path].why for path in (b"d/e/f", b"tree", b"d/" + ODD)] == ["for a test", UNKNOWN, UNKNOWN]
    notes.unlink()
    assert set(every(pair)) == {b"d", b"tree", b"link"}


def test_a_note_of_something_that_is_not_there_is_passed_over(pair: Pair, taken: Quarantine) -> None:
    (pair.secondary / taken.folder / "d/e/f").unlink()
    shutil.rmtree(pair.secondary / taken.folder / "tree")
    assert set(every(pair)) == {b"d/" + ODD, b"link"}


def test_a_stock_measures_once_and_says_so_on_the_disk(pair: Pair, taken: Quarantine, monkeypatch) -> None:
    without = Stock().held(pair.secondary_fd, Role.SECONDARY)
    assert (without.objects, without.bytes) == (4, 4 + 3)
    stock = Stock()
    measured = stock.held(pair.secondary_fd, Role.SECONDARY, is_measuring=True)
    assert (measured.objects, measured.bytes) == (4, 4 + 3 + 3)
    monkeypatch.setattr(quarantined, "measure", lambda *args: pytest.fail("measured again"))
    assert Stock().held(pair.secondary_fd, Role.SECONDARY, is_measuring=True) == measured
    monkeypatch.setattr(quarantined, "entries", lambda *args: pytest.fail("looked at again"))
    assert stock.held(pair.secondary_fd, Role.SECONDARY, is_measuring=True) == measured


def test_a_stock_sees_what_comes_and_goes(pair: Pair, taken: Quarantine) -> None:
    stock = Stock()
    before = stock.held(pair.secondary_fd, Role.SECONDARY, is_measuring=True)
    (pair.secondary / "late").write_text("late!")
    taken.take(pair.secondary_fd, b"late", b"late")
    later = stock.held(pair.secondary_fd, Role.SECONDARY, is_measuring=True)
    assert (later.objects, later.bytes) == (before.objects + 1, before.bytes + 5)
    quarantined.purge(pair.secondary_fd, quarantined.sessions(pair.secondary_fd)[0])
    assert stock.held(pair.secondary_fd, Role.SECONDARY).objects == 0


def test_a_purge_leaves_nothing_of_a_session_and_all_of_others(pair: Pair, taken: Quarantine) -> None:
    (pair.secondary / "other").write_text("stays")
    other = Quarantine(pair.secondary_fd)
    other.take(pair.secondary_fd, b"other", b"other")
    session = os.fsencode(taken.folder).rpartition(b"/")[2]
    quarantined.purge(pair.secondary_fd, session)
    assert set(every(pair)) == {b"other"}
    assert sorted(os.listdir(pair.secondary / ".twinfs/quarantine")) == sorted(
        [Path(other.folder).name, Path(other.folder).name + ".jsonl"]
    )
    assert os.listdir(pair.secondary / ".twinfs/tmp") == []


def test_a_purge_that_was_killed_after_its_rename_is_finished_by_the_next(
    pair: Pair, taken: Quarantine
) -> None:
    shutil.rmtree(pair.secondary / taken.folder)
    [session] = quarantined.sessions(pair.secondary_fd)
    assert quarantined.entries(pair.secondary_fd, session) == []
    quarantined.purge(pair.secondary_fd, session)
    assert os.listdir(pair.secondary / ".twinfs/quarantine") == []


def test_a_session_is_as_old_as_what_it_put_aside_last(pair: Pair, taken: Quarantine) -> None:
    [session] = quarantined.sessions(pair.secondary_fd)
    times = [entry.time for entry in every(pair).values()]
    assert quarantined.newest(pair.secondary_fd, session) == max(times) >= quarantined.begun(session)


def test_what_people_put_into_the_folder_is_not_ours(pair: Pair, taken: Quarantine) -> None:
    (pair.secondary / ".twinfs/quarantine/mine").mkdir()
    (pair.secondary / ".twinfs/quarantine/ballast").write_text("x")
    assert len(quarantined.sessions(pair.secondary_fd)) == 1


def test_a_purge_in_the_middle_of_a_session_loses_nothing(pair: Pair, taken: Quarantine, monkeypatch) -> None:
    """Between the making of a place and its use."""
    (pair.secondary / "late").write_text("late")
    place_for = Quarantine.place_for
    purged: list[bytes] = []

    def and_purge(quarantine: Quarantine, path: bytes) -> bytes:
        place = place_for(quarantine, path)
        if not purged:
            purged.extend(quarantined.sessions(pair.secondary_fd))
            quarantined.purge(pair.secondary_fd, purged[0])
        return place

    monkeypatch.setattr(Quarantine, "place_for", and_purge)
    taken.take(pair.secondary_fd, b"late", b"late")
    assert pair.quarantined() == {"late": b"late"}
