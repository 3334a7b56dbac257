"""What happened to a volume, kept across its daemon's death."""

from __future__ import annotations

import os
import time

import pytest

from twinfs.daemon.events import EventLog


@pytest.fixture
def log(tmp_path):
    return EventLog(tmp_path / "events.jsonl", "pair", max_bytes=2000)


def messages(events):
    return [event.message for event in events]


def test_events_are_read_in_order_with_their_time(log):
    begin = time.time()
    log.append("mounted", "at /mnt")
    log.append("error", "disk gone")
    first, second = log.read()
    assert (first.kind, first.message, first.volume) == ("mounted", "at /mnt", "pair")
    assert begin <= first.time <= second.time <= time.time()


def test_nothing_has_happened_to_a_volume_without_a_file(log):
    assert list(log.read()) == []


def test_old_events_are_dropped_file_by_file_and_the_newest_are_kept(log, tmp_path):
    for number in range(200):
        log.append("n", str(number))
    kept = messages(log.read())
    assert kept == [str(number) for number in range(200 - len(kept), 200)]
    assert len(kept) > 30
    assert {path.name for path in tmp_path.iterdir()} == {"events.jsonl", "events.jsonl.1", "events.jsonl.2"}
    assert all(path.stat().st_size < 2200 for path in tmp_path.iterdir())


def test_a_torn_line_does_not_hide_the_others(log, tmp_path):
    log.append("a", "1")
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b'{"time": 1.0, "vol\n\xff\xfe\n')
    log.append("b", "2")
    assert messages(log.read()) == ["1", "2"]


def test_a_line_that_is_still_being_written_is_not_read_yet(log, tmp_path):
    log.append("a", "1")
    line = (tmp_path / "events.jsonl").read_bytes()
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(line[:10])
        file.flush()
        assert messages(log.read()) == ["1"]
        file.write(line[10:])
    assert messages(log.read()) == ["1", "1"]


def test_a_file_name_that_is_no_utf8_can_be_told(log):
    log.append("mismatch", os.fsdecode(b"caf\xe9"))
    assert messages(log.read()) == [r"caf\xe9"]


def test_follow_yields_what_was_and_then_what_comes_across_rotations(log):
    log.append("n", "0")
    written = 1

    def write_more_instead_of_sleeping(_seconds):
        nonlocal written
        for _ in range(7):
            log.append("n", str(written))
            written += 1

    follower = log.follow(sleep=write_more_instead_of_sleeping)
    assert [next(follower).message for _ in range(150)] == [str(number) for number in range(150)]
    follower.close()


def test_follow_waits_for_the_first_event_of_all(log):
    follower = log.follow(sleep=lambda _: log.append("mounted", "first"))
    assert next(follower).message == "first"
    follower.close()


def test_events_are_for_the_owner_only(log, tmp_path):
    log.append("a", "1")
    assert (tmp_path / "events.jsonl").stat().st_mode & 0o777 == 0o600
