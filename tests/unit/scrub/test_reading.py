"""Both legs' contents: equal, different, moving, refused; small, large, many."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from blake3 import blake3

from twinfs.errors import UsageError
from twinfs.fsio.uncached import aligned_buffer, close_uncached, method_of, open_uncached, read_whole
from twinfs.model import ReadMethod
from twinfs.scrub import legreader
from twinfs.scrub.hashing import hash_file
from twinfs.scrub.pace import Pace
from twinfs.scrub.plan import Plan
from twinfs.scrub.reading import BATCH_BYTES, Outcome, PairRead, PairReader
from twinfs.scrub.todo import Item

SIZES = (0, 1, 4095, 4096, 4097, 100_000, BATCH_BYTES - 1, BATCH_BYTES, BATCH_BYTES + 1, 3 * BATCH_BYTES + 5)


class Legs:
    """Two directories with the same files."""

    def __init__(self, base: Path) -> None:
        self.paths = base / "primary", base / "secondary"
        for path in self.paths:
            path.mkdir()
        self.fds = tuple(os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in self.paths)

    def put(self, name: str, content: bytes, second: bytes | None = None) -> Item:
        for path, data in zip(self.paths, (content, content if second is None else second), strict=True):
            (path / name).write_bytes(data)
        return Item(0, 0, os.fsencode(name), len(content), 0)

    def reader(self) -> PairReader:
        methods = ReadMethod.DIRECT, ReadMethod.DROPPED
        return PairReader((self.fds[0], self.fds[1]), methods, lambda size: None)

    def read(self, items: list[Item]) -> list[PairRead]:
        time.sleep(0.03)  # what has changed just now counts as moving
        reader = PairReader(
            (self.fds[0], self.fds[1]), (ReadMethod.DIRECT, ReadMethod.DROPPED), lambda size: None
        )
        try:
            return list(reader.run(items))
        finally:
            reader.close()

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def legs(tmp_path):
    made = Legs(tmp_path)
    yield made
    made.close()


def test_equal_files_of_every_size_have_the_hash_of_their_bytes(legs):
    contents = [os.urandom(size) for size in SIZES]
    items = [legs.put(f"file-{size}", content) for size, content in zip(SIZES, contents, strict=True)]
    results = legs.read(items)
    assert [result.item for result in results] == items
    assert {result.outcome for result in results} == {Outcome.EQUAL}
    assert [result.content for result in results] == [blake3(content).digest() for content in contents]


def test_many_small_files_keep_their_order(legs):
    items = [legs.put(f"{number:03}", b"%d" % number * (number % 50)) for number in range(300)]
    results = legs.read(items)
    assert [result.item.path for result in results] == [item.path for item in items]
    assert all(result.outcome is Outcome.EQUAL for result in results)


@pytest.mark.parametrize("at", [0, 5_000, BATCH_BYTES - 1, BATCH_BYTES, 2 * BATCH_BYTES + 77])
def test_one_different_byte_is_seen_wherever_it_is(legs, at):
    content = bytes(2 * BATCH_BYTES + 78)
    other = bytearray(content)
    other[at] = 1
    items = [legs.put("before", b"x"), legs.put("file", content, bytes(other)), legs.put("after", b"y")]
    outcomes = [result.outcome for result in legs.read(items)]
    assert outcomes == [Outcome.EQUAL, Outcome.SUSPECT, Outcome.EQUAL]


def test_holes_are_zeros(legs):
    size = BATCH_BYTES * 2
    item = legs.put("sparse", bytes(size))
    for path in legs.paths[:1]:
        with open(path / "sparse", "wb") as file:
            file.truncate(size)
    (result,) = legs.read([item])
    assert result.outcome is Outcome.EQUAL
    assert result.content == blake3(bytes(size)).digest()


def test_a_file_of_another_size_than_expected_is_moving(legs):
    item = legs.put("file", b"12345")
    for expected in (3, 9):
        (result,) = legs.read([Item(0, 0, item.path, expected, 0)])
        assert result.outcome is Outcome.MOVING
        assert result.size == 5


def test_a_file_that_was_changed_this_very_moment_is_moving(legs, monkeypatch):
    item = legs.put("file", b"12345")
    legs.read([])
    # On a busy machine the reader may be a while in coming.
    monkeypatch.setattr(legreader, "_GRANULARITY_NS", 60 * 10**9)
    os.utime(legs.paths[0] / "file")
    reader = PairReader(
        (legs.fds[0], legs.fds[1]), (ReadMethod.DIRECT, ReadMethod.DROPPED), lambda size: None
    )
    (result,) = reader.run([item])
    reader.close()
    assert result.outcome is Outcome.MOVING


def test_what_a_leg_lacks_or_refuses_is_suspect(legs):
    for side in (0, 1):
        item = legs.put(f"file-{side}", b"12345")
        (legs.paths[side] / f"file-{side}").unlink()
        (result,) = legs.read([item])
        assert result.outcome is Outcome.SUSPECT
    os.symlink("/etc/passwd", legs.paths[0] / "link")
    os.symlink("/etc/passwd", legs.paths[1] / "link")
    (result,) = legs.read([Item(0, 0, b"link", 5, 0)])
    assert result.outcome is Outcome.SUSPECT


def test_one_file_is_hashed_the_same_either_way(tmp_path):
    content = os.urandom(3_000_001)
    (tmp_path / "file").write_bytes(content)
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        for method in ReadMethod:
            assert hash_file(root, b"file", method).content == blake3(content).digest()
        with pytest.raises(FileNotFoundError):
            hash_file(root, b"nothing", ReadMethod.DIRECT)
    finally:
        os.close(root)


def test_a_short_read_ends_with_the_file(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 5000)
    root = os.open(tmp_path, os.O_RDONLY)
    memory = aligned_buffer(8192)
    with memoryview(memory) as view:
        fd = open_uncached(b"file", method_of(root), root)
        assert read_whole(fd, view, 0) == 5000
        assert read_whole(fd, view[:4096], 4096) == 904
        close_uncached(fd, method_of(root))
    memory.close()
    os.close(root)


def test_memory_file_systems_have_no_direct_way():
    root = os.open("/proc", os.O_RDONLY)
    assert method_of(root) is ReadMethod.DROPPED
    os.close(root)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_rate_is_never_exceeded_and_not_saved_up():
    clock = Clock()
    pace = Pace(1000.0, clock=clock, sleep=clock.sleep)
    for _ in range(5):
        pace(2000)
    assert clock.now == pytest.approx(110)
    clock.now += 50
    pace(2000)
    assert clock.now == pytest.approx(162)


def test_a_busy_volume_gets_three_quarters_of_the_time():
    clock = Clock()
    pace = Pace(0.0, clock=clock, sleep=clock.sleep)
    pace(1)
    assert clock.now == 100
    pace.is_busy = True
    for _ in range(10):
        clock.now += 0.1
        pace(1)
    assert clock.now == pytest.approx(104)


@pytest.mark.parametrize("text", ["", "8", "0%", "101%", "-5%", "all", "8 %"])
def test_other_plans_are_refused(text):
    with pytest.raises(UsageError, match="none of: new, full"):
        Plan.parse(text)


def test_plans_are_read():
    assert Plan.parse("8%").percent == 8.0
    assert Plan.parse("0.5%").percent == 0.5
    assert Plan.parse("full").percent is None
