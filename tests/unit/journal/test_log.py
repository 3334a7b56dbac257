"""The intent log's file: torn, damaged, foreign, written by two threads."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinfs.errors import StateError
from twinfs.journal import log as journal_log
from twinfs.journal.log import IntentLog, LogFile, create
from twinfs.journal.records import (
    Abort,
    Applied,
    Cleared,
    Clock,
    Closed,
    Commit,
    Compare,
    Compared,
    Create,
    Exclude,
    Link,
    Record,
    Remove,
    Rename,
    Stale,
    Swapping,
    Touched,
)

RECORDS: list[tuple[int, Record]] = [
    (1, Create(b"d/f", 0o100644, 1, 2, 0, b"")),
    (1, Commit(77)),
    (2, Create(b"l", 0o120777, 1, 2, 0, b"tar\xffget")),
    (2, Abort()),
    (3, Link(b"d/f", b"g")),
    (4, Remove(b"g", False, False)),
    (5, Rename(b"d", b"e", True, 9)),
    (5, Swapping(12)),
    (5, Applied()),
    (6, Stale(77, b"e/f", 0, -1)),
    (6, Cleared(77)),
    (7, Compare(b"", 123_456_789_000)),
    (7, Compared()),
    (8, Exclude(b"tmp")),
    (9, Touched(b"e")),
]


@pytest.fixture(autouse=True)
def timeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log does not say when: which records are in it does not depend on how long a test takes."""
    monkeypatch.setattr(journal_log, "_CLOCK_SECONDS", math.inf)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[IntentLog]:
    opened = IntentLog(tmp_path, "volume-1", "*.tmp")
    opened.start([], 0)
    yield opened
    opened.close(is_clean=False)


def load(directory: Path, volume_id: str = "volume-1") -> tuple[list[tuple[int, Record]], bool]:
    left = LogFile(directory, volume_id)
    return list(left), left.is_whole


def fill(log: IntentLog) -> list[int]:
    """Append all records; returns the file's size after each."""
    sizes = [log.size_bytes]
    for number, record in RECORDS:
        log.append(number, record)
        sizes.append(log.size_bytes)
    return sizes


def test_what_is_appended_is_read_back_in_order(tmp_path: Path, log: IntentLog) -> None:
    fill(log)
    assert load(tmp_path) == (RECORDS, True)


def test_the_header_says_where_the_log_belongs(tmp_path: Path, log: IntentLog) -> None:
    left = LogFile(tmp_path, "volume-1")
    assert list(left) == []
    assert left.header is not None
    assert (left.header.volume_id, left.header.excludes) == ("volume-1", "*.tmp")


def test_a_tail_torn_at_any_byte_loses_only_the_torn_record(tmp_path: Path, log: IntentLog) -> None:
    sizes = fill(log)
    path = tmp_path / "intent.log"
    data = path.read_bytes()
    for length in range(sizes[0], len(data)):
        whole = sum(1 for size in sizes[1:] if size <= length)
        # How far it reached is written after each record, or not any more.
        for reach in {sizes[whole], sizes[max(0, whole - 1)]}:
            path.write_bytes(data[:8] + reach.to_bytes(8, "little") + data[16:length])
            assert load(tmp_path) == (RECORDS[:whole], True), f"torn at {length}"


def test_a_log_that_was_cut_off_at_any_byte_is_not_whole(tmp_path: Path, log: IntentLog) -> None:
    fill(log)
    path = tmp_path / "intent.log"
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        records, is_whole = load(tmp_path)
        assert not is_whole, f"cut at {length}"
        assert records == RECORDS[: len(records)]


def test_a_log_torn_within_its_header_is_not_whole(tmp_path: Path, log: IntentLog) -> None:
    path = tmp_path / "intent.log"
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert load(tmp_path) == ([], False)


def test_damage_at_any_byte_before_the_last_record_is_noticed(tmp_path: Path, log: IntentLog) -> None:
    sizes = fill(log)
    path = tmp_path / "intent.log"
    data = path.read_bytes()
    unnoticed = []
    for position in range(sizes[-2]):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        records, is_whole = load(tmp_path)
        assert records == RECORDS[: len(records)], "nothing wrong may come out"
        if is_whole:
            unnoticed.append(position)
    assert not unnoticed


def test_a_block_of_zeros_in_the_middle_is_noticed(tmp_path: Path, log: IntentLog) -> None:
    sizes = fill(log)
    path = tmp_path / "intent.log"
    data = bytearray(path.read_bytes())
    data[sizes[3] : sizes[6]] = bytes(sizes[6] - sizes[3])
    path.write_bytes(data)
    assert load(tmp_path) == (RECORDS[:3], False)


@given(st.binary(max_size=300))
def test_no_bytes_after_the_last_record_raise(tmp_path_factory: pytest.TempPathFactory, tail: bytes) -> None:
    directory = tmp_path_factory.getbasetemp() / "tails"
    directory.mkdir(exist_ok=True)
    log = IntentLog(directory, "volume-1")
    log.start(RECORDS[:2], 2)
    log.close(is_clean=False)
    with open(directory / "intent.log", "ab") as file:
        file.write(tail)
    assert load(directory)[0][:2] == RECORDS[:2]


def test_a_log_of_another_volume_is_not_whole_and_says_nothing(tmp_path: Path, log: IntentLog) -> None:
    fill(log)
    assert load(tmp_path, "volume-2") == ([], False)


def test_a_missing_log_is_not_whole(tmp_path: Path) -> None:
    assert load(tmp_path) == ([], False)


def test_a_log_that_cannot_be_read_is_an_error_of_the_state(tmp_path: Path) -> None:
    (tmp_path / "intent.log").mkdir()
    with pytest.raises(StateError, match=r"intent\.log"):
        LogFile(tmp_path, "volume-1")


def test_a_reset_forgets_all_but_the_header_and_numbers_go_on(tmp_path: Path, log: IntentLog) -> None:
    fill(log)
    number = log.next_number()
    log.reset()
    assert load(tmp_path) == ([], True)
    assert log.next_number() == number + 1
    log.append(number + 1, Touched(b"a"))
    assert load(tmp_path) == ([(number + 1, Touched(b"a"))], True)


def test_a_new_start_holds_only_what_it_is_given(tmp_path: Path, log: IntentLog) -> None:
    fill(log)
    log.start([(6, RECORDS[9][1])], 6, since_ns=42)
    left = LogFile(tmp_path, "volume-1")
    assert list(left) == [(6, RECORDS[9][1])]
    assert left.header is not None and left.header.since_ns == 42
    assert log.next_number() == 7


def test_a_start_that_fails_leaves_the_old_log(tmp_path: Path, log: IntentLog) -> None:
    def records() -> Iterator[tuple[int, Record]]:
        yield RECORDS[0]
        raise OSError(28, "the state disk is full")

    fill(log)
    with pytest.raises(OSError, match="full"):
        log.start(records(), 0)
    assert load(tmp_path) == (RECORDS, True)


def test_a_clean_close_is_the_last_word(tmp_path: Path) -> None:
    log = IntentLog(tmp_path, "volume-1")
    log.start(RECORDS, 9)
    log.close(is_clean=True)
    assert load(tmp_path) == ([(9, Closed())], True)


def test_a_new_volumes_log_asks_for_a_comparison_of_everything(tmp_path: Path) -> None:
    create(tmp_path / "pair", "volume-1")
    assert load(tmp_path / "pair") == ([(1, Compare(b"", 0))], True)


def test_two_threads_append_whole_records_and_numbers_are_never_given_twice(
    tmp_path: Path, log: IntentLog
) -> None:
    def work(name: bytes) -> None:
        for _ in range(500):
            number = log.next_number()
            log.append(number, Touched(name * (1 + number % 40)))

    threads = [threading.Thread(target=work, args=(name,)) for name in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records, is_whole = load(tmp_path)
    assert is_whole
    assert sorted(number for number, _ in records) == list(range(1, 1001))
    for name in (b"a", b"b"):
        mine = [number for number, record in records if isinstance(record, Touched) and name in record.path]
        assert mine == sorted(mine) and len(mine) == 500


def test_a_record_that_found_no_room_leaves_no_half(
    tmp_path: Path, log: IntentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:5]))
        with pytest.raises(OSError, match="no room"):
            log.append(10, Touched(b"lost"))
    log.append(11, Touched(b"kept"))
    assert load(tmp_path) == ([*RECORDS, (11, Touched(b"kept"))], True)


def test_a_start_that_found_no_room_for_a_whole_record_fails(
    tmp_path: Path, log: IntentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log)
    write = os.write
    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:5]))
        log.start(RECORDS[:1], 1)
    assert load(tmp_path) == (RECORDS, True)


def test_what_is_owed_is_written_before_the_next_record(
    tmp_path: Path, log: IntentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "the state disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        log.owe(1, Commit(7))
        with pytest.raises(OSError, match="full"):
            log.append(2, Touched(b"refused"))
    assert load(tmp_path) == ([], True)
    log.append(3, Touched(b"kept"))
    assert load(tmp_path) == ([(1, Commit(7)), (3, Touched(b"kept"))], True)


def test_two_threads_may_owe_and_append_at_once(tmp_path: Path, log: IntentLog) -> None:
    def work(first: int) -> None:
        for number in range(first, first + 300):
            log.owe(number, Abort())
            log.append(number, Touched(b"x"))

    threads = [threading.Thread(target=work, args=(first,)) for first in (1000, 2000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records, is_whole = load(tmp_path)
    assert is_whole
    for kind in (Abort, Touched):
        assert len({number for number, record in records if isinstance(record, kind)}) == 600


def test_the_log_says_when_something_is_recorded_at_most_once_a_second(
    tmp_path: Path, log: IntentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_log, "_CLOCK_SECONDS", 1.0)
    told: list[Record] = []
    log.on_record = lambda number, record: told.append(record)
    for now in (1000.0, 1000.5, 1002.0, 900.0):
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda now=now: now)
            log.append(7, Touched(b"f"))
    touched = (7, Touched(b"f"))
    clocks = [(0, Clock(now)) for now in (1000.0, 1002.0, 900.0)]
    assert load(tmp_path) == ([clocks[0], touched, touched, clocks[1], touched, clocks[2], touched], True)
    assert told == [touched[1]] * 4
