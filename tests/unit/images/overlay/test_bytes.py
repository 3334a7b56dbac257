"""Bytes of changed files, when the process or the power dies between any two steps."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from twinfs.images.overlay import Store, contents
from twinfs.images.overlay.contents import PIECE_BYTES, Bytes
from twinfs.images.overlay.objects import Object, Objects

SIZE = 3 * PIECE_BYTES + 1000
BASE = random.Random(1).randbytes(SIZE)


class Died(BaseException):
    pass


@pytest.fixture
def store(tmp_path: Path):
    opened = Store(str(tmp_path / "overlay"), may_create=True)
    opened.begin_use("image", "fingerprint")
    yield opened
    opened.close()


@pytest.fixture
def number(store: Store) -> int:
    """Of a file that the image has, with not a byte changed."""
    wanted = Object(0, b"/p1/file", False, 0o100644, 1, 0, 0, 0, SIZE, 0, 0, 0, 0, base_limit=SIZE)
    with store.transaction():
        made = Objects(store).add(wanted, {})
        contents.create(store, made.id, SIZE)
        Objects(store).change(made.id, has_bytes=1)
    return made.id


def opened(store: Store, number: int) -> Bytes:
    return Bytes(store, Objects(store).get(number))


def shown(store: Store, number: int) -> bytes:
    """All of the file, as it is read after everything was closed and opened again."""
    file = opened(store, number)
    try:
        pieces = [
            file.read(start, stop - start) if is_here else BASE[start:stop]
            for start, stop, is_here in file.runs(0, file.size_bytes)
        ]
    finally:
        file.close()
    return b"".join(pieces)


def write(store: Store, number: int, offset: int, data: bytes) -> None:
    file = opened(store, number)
    try:
        for start, length in file.incomplete(offset, offset + len(data)):
            file.fill(start, BASE[start : start + length])
        file.write(offset, data)
    finally:
        file.close()


def cut(store: Store, number: int, size: int) -> None:
    file = opened(store, number)
    try:
        file.cut(size)
    finally:
        file.close()


def test_random_writes_and_cuts_read_as_in_memory(store, number):
    chance = random.Random(7)
    expected = bytearray(BASE)
    for _ in range(300):
        at = chance.randrange(SIZE + PIECE_BYTES)
        if chance.randrange(4) == 0:
            cut(store, number, at)
            expected = expected[:at].ljust(at, b"\0")
        else:
            data = chance.randbytes(chance.choice((1, 100, PIECE_BYTES, 2 * PIECE_BYTES + 5)))
            write(store, number, at, data)
            expected = expected.ljust(at, b"\0")
            expected[at : at + len(data)] = data
        assert shown(store, number) == expected


def test_a_piece_that_was_filled_and_not_recorded_is_the_image_s(store, number, monkeypatch):
    write(store, number, 10, b"recorded")

    def die(*_: object) -> None:
        raise Died

    monkeypatch.setattr(Bytes, "_record", die)
    with pytest.raises(Died):
        write(store, number, PIECE_BYTES + 10, b"never")
    monkeypatch.undo()
    expected = bytearray(BASE)
    expected[10:18] = b"recorded"
    assert shown(store, number) == expected


def test_a_cut_that_was_not_recorded_shows_no_bytes_of_the_image_beyond(store, number, monkeypatch):
    def die(*_: object) -> None:
        raise Died

    monkeypatch.setattr(Store, "transaction", die)
    with pytest.raises(Died):
        cut(store, number, 1000)
    monkeypatch.undo()
    assert shown(store, number) == BASE[:1000]
    cut(store, number, SIZE)
    assert shown(store, number) == BASE[:1000].ljust(SIZE, b"\0")


def test_after_a_power_cut_only_synced_pieces_count(store, number):
    write(store, number, 0, b"synced")
    file = opened(store, number)
    file.sync()
    file.synced()
    file.close()
    write(store, number, 2 * PIECE_BYTES, b"not synced")
    store.set_meta("used_in", "another boot")
    assert store.begin_use("image", "fingerprint") is True
    expected = bytearray(BASE)
    expected[:6] = b"synced"
    assert shown(store, number) == expected


def test_after_an_end_without_power_cut_all_counts(store, number):
    write(store, number, 0, b"not synced")
    store.end_use()
    store.set_meta("used_in", "")
    assert store.begin_use("image", "fingerprint") is False
    assert shown(store, number)[:10] == b"not synced"


def test_files_that_nothing_names_are_swept_away(store, number):
    contents.create(store, 999, 10)
    contents.sweep(store, {number}.__contains__)
    assert os.listdir(store.contents_fd) == [str(number)]
    contents.remove(store, number)
    contents.mend(store, Objects(store).get(number))
    assert shown(store, number) == BASE


def test_times_beyond_64_bits_are_kept(store, number):
    far = 15_000_000_000 * 10**9 + 7
    Objects(store).change(number, mtime=far, atime=-far)
    found = Objects(store).get(number)
    assert (found.mtime, found.atime) == (far, -far)


def test_numbers_are_never_given_out_twice(store, number):
    objects = Objects(store)
    with store.transaction():
        objects.remove(number)
    with store.transaction():
        again = objects.add(Object(0, None, False, 0o100644, 1, 0, 0, 0, 0, 0, 0, 0, 0), {})
    assert again.id > number
