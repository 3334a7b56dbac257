"""Reads that both disks answer, on a real mount: never another byte than what was written last."""

from __future__ import annotations

import mmap
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock, Semaphore

import pytest

from support.disks import forget_pages
from support.volume import Volume, wait_until

pytestmark = pytest.mark.deadline(180)

BLOCK = 4096
BLOCKS = 1536
MIB = 1 << 20
POLICIES = ("balance", "stripe")


@pytest.fixture(params=POLICIES)
def policy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def mounted(new_volume: Callable[..., Volume], mode: str, policy: str) -> Volume:
    volume = new_volume(mode).init()
    volume.configure(f'read_policy = "{policy}"')
    return volume.mount_it()


def forget(volume: Volume, name: str) -> None:
    """So that the next read comes from a disk."""
    for place in (volume.mount, volume.primary, volume.secondary):
        if (place / name).exists():
            forget_pages(place / name)


def pread_direct(fd: int, size: int, offset: int) -> bytes:
    """Past the kernel's cache of the mount; for that the buffer begins at a page."""
    buffer = mmap.mmap(-1, size)
    filled = os.preadv(fd, [buffer], offset)
    return buffer[:filled]


def read_here_and_there(volume: Volume) -> bytes:
    """All of it, by several threads, in any order."""
    path, piece = volume.mount / "large", 32 * BLOCK
    starts = list(range(0, path.stat().st_size, piece))
    random.shuffle(starts)
    with open(path, "rb") as file, ThreadPoolExecutor(8) as pool:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        pieces = dict(
            zip(starts, pool.map(lambda at: os.pread(file.fileno(), piece, at), starts), strict=True)
        )
    return b"".join(pieces[start] for start in sorted(pieces))


@pytest.mark.parametrize(("mode", "policy"), (("sync", "stripe"), ("batched", "balance")))
def test_both_disks_are_read(new_volume: Callable[..., Volume], mode: str, policy: str) -> None:
    volume = mounted(new_volume, mode, policy)
    content = os.urandom(24 * MIB + 123)
    (volume.mount / "large").write_bytes(content)
    volume.sync()
    # So that it is seen which disk an answer is from: zeros are the secondary's.
    path = volume.secondary / "large"
    times = path.stat()
    with open(path, "r+b") as file:
        file.write(bytes(len(content)))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def is_seen_of_both() -> bool:
        forget(volume, "large")
        # A lone sequential reader is the primary's unless both read for it.
        found = (volume.mount / "large").read_bytes() if policy == "stripe" else read_here_and_there(volume)
        assert len(found) == len(content)
        pages = range(0, len(content), BLOCK)
        theirs = [start for start in pages if found.startswith(bytes(min(BLOCK, len(found) - start)), start)]
        ours = [start for start in pages if found[start : start + BLOCK] == content[start : start + BLOCK]]
        assert len(theirs) + len(ours) == len(pages)
        return bool(ours and theirs)

    wait_until(is_seen_of_both, 60, "only one disk is read")
    with open(path, "r+b") as file:
        file.write(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_what_a_scrub_left_different_is_read_from_one_disk_only(new_volume: Callable[..., Volume]) -> None:
    volume = mounted(new_volume, "sync", "stripe")
    content = os.urandom(24 * MIB)
    (volume.mount / "large").write_bytes(content)
    volume.sync()
    volume.twinfs("scrub", volume.name)
    path = volume.secondary / "large"
    times = path.stat()
    with open(path, "r+b") as file:
        file.write(bytes(len(content)))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def read_cold() -> bytes:
        forget(volume, "large")
        return (volume.mount / "large").read_bytes()

    wait_until(lambda: read_cold() != content, 60, "the secondary is not read")
    assert volume.twinfs("scrub", volume.name, check=False).returncode == 4
    assert read_cold() == read_cold() == content
    volume.umount()
    volume.mount_it()
    assert read_cold() == content
    assert volume.twinfs("scrub", volume.name, "--repair", check=False).returncode == 1
    assert read_cold() == content
    volume.assert_legs_equal()


class Model:
    """A file whose blocks say which write they are from, and what is known of each block.

    A block is written by one thread at a time. Who reads notes the last write before, and finds that or a
    later one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done = [0] * BLOCKS
        self.begun = [0] * BLOCKS
        self.lock = Lock()
        self.opened = Semaphore(0)

    def open(self, flags: int) -> int:
        """Before it gets another name."""
        fd = os.open(self.path, flags | os.O_DIRECT)
        self.opened.release()
        return fd

    def block(self, number: int, turn: int) -> bytes:
        return (b"%08d:%08d " % (number, turn)).ljust(64, b".") * (BLOCK // 64)

    def judge(self, number: int, data: bytes, least: int) -> None:
        turn = int(data[9:17])
        assert data == self.block(number, turn), f"block {number} is a mixture: {data[:64]!r}"
        with self.lock:
            most = self.begun[number]
        assert least <= turn <= most, f"block {number} is of write {turn}, not of {least} to {most}"


def _write(model: Model, seed: int, stop: Event) -> int:
    chosen, count = random.Random(seed), 0
    fd = model.open(os.O_RDWR)
    buffer = mmap.mmap(-1, BLOCK)
    try:
        while not stop.is_set():
            number = chosen.randrange(BLOCKS // 2) * 2 + seed % 2
            with model.lock:
                turn = model.begun[number] = model.begun[number] + 1
            buffer[:] = model.block(number, turn)
            assert os.pwrite(fd, buffer, number * BLOCK) == BLOCK
            model.done[number] = turn
            count += 1
    finally:
        os.close(fd)
    return count


def _read_here_and_there(model: Model, seed: int, stop: Event) -> int:
    chosen, count = random.Random(seed), 0
    fd = model.open(os.O_RDONLY)
    try:
        while not stop.is_set():
            number = chosen.randrange(BLOCKS)
            least = model.done[number]
            model.judge(number, pread_direct(fd, BLOCK, number * BLOCK), least)
            count += 1
    finally:
        os.close(fd)
    return count


def _read_through(model: Model, stop: Event) -> int:
    count, step = 0, 32
    fd = model.open(os.O_RDONLY)
    try:
        while not stop.is_set():
            for start in range(0, BLOCKS, step):
                least = model.done[start : start + step]
                data = pread_direct(fd, step * BLOCK, start * BLOCK)
                assert len(data) == step * BLOCK
                for number in range(step):
                    block = data[number * BLOCK : (number + 1) * BLOCK]
                    model.judge(start + number, block, least[number])
                count += 1
    finally:
        os.close(fd)
    return count


@pytest.mark.parametrize("mode", ("sync", "batched"))
def test_what_is_read_while_it_is_written_is_never_older_than_the_last_write(
    new_volume: Callable[..., Volume], mode: str, policy: str
) -> None:
    volume = mounted(new_volume, mode, policy)
    model = Model(volume.mount / "file")
    model.path.write_bytes(b"".join(model.block(number, 0) for number in range(BLOCKS)))
    volume.sync()
    stop = Event()
    with ThreadPoolExecutor(8) as pool:
        works = [pool.submit(_write, model, seed, stop) for seed in (0, 1)]
        works += [pool.submit(_read_here_and_there, model, seed, stop) for seed in (2, 3)]
        works.append(pool.submit(_read_through, model, stop))
        for _ in works:
            assert model.opened.acquire(timeout=30)
        try:
            name = "file"
            for turn in range(6):
                # What is in sync again is read from the secondary until it is written.
                forget_pages(volume.primary / name)
                volume.sync()
                name, before = f"file{turn}", name
                os.rename(volume.mount / before, volume.mount / name)
        finally:
            stop.set()
        assert all(work.result() > 0 for work in works)
    volume.sync()
    forget(volume, name)
    content = (volume.mount / name).read_bytes()
    for number in range(BLOCKS):
        model.judge(number, content[number * BLOCK : (number + 1) * BLOCK], model.done[number])
    volume.assert_legs_equal()


@pytest.mark.parametrize(("mode", "policy"), (("sync", "balance"), ("batched", "stripe")))
def test_a_history_of_changes_reads_as_on_a_plain_directory(
    new_volume: Callable[..., Volume], mode: str, policy: str
) -> None:
    volume = mounted(new_volume, mode, policy)
    plain = volume.base / "plain"
    plain.mkdir()
    chosen = random.Random(f"{mode} {policy}")
    roots = (volume.mount, plain)
    for turn in range(80):
        _change(chosen, roots, turn)
        if turn % 10 == 0:
            volume.sync()
        names = sorted(path.name for path in plain.iterdir())
        assert sorted(path.name for path in volume.mount.iterdir()) == names
        name = chosen.choice(names)
        forget(volume, name)
        assert (volume.mount / name).read_bytes() == (plain / name).read_bytes(), (
            f"{name} after {turn} changes"
        )
    volume.assert_legs_equal()


def _change(chosen: random.Random, roots: tuple[Path, Path], turn: int) -> None:
    """The same in both."""
    names = sorted(path.name for path in roots[1].iterdir())
    kind = chosen.choice(("make", "write", "truncate", "rename", "replace", "link", "remove"))
    if len(names) < 4:
        kind = "make"
    one, other = (chosen.choice(names), chosen.choice(names)) if names else ("", "")
    size, place = chosen.choice((100, 70_000, 5 * MIB)), chosen.randrange(300_000)
    data = chosen.randbytes(size)
    for root in roots:
        match kind:
            case "make":
                (root / f"new{turn}").write_bytes(data)
            case "write":
                with open(root / one, "r+b") as file:
                    file.seek(place)
                    file.write(data)
            case "truncate":
                os.truncate(root / one, place)
            case "rename":
                os.rename(root / one, root / f"renamed{turn}")
            case "replace":
                os.rename(root / one, root / other)
            case "link":
                os.link(root / one, root / f"link{turn}")
            case "remove":
                (root / one).unlink()


def test_a_file_that_is_removed_while_it_is_open_reads_on(
    new_volume: Callable[..., Volume], policy: str
) -> None:
    volume = mounted(new_volume, "sync", policy)
    content = bytearray(os.urandom(6 * MIB))
    path = volume.mount / "file"
    path.write_bytes(content)
    volume.sync()
    fd = os.open(path, os.O_RDWR | os.O_DIRECT)
    try:
        forget_pages(volume.primary / "file")
        assert pread_direct(fd, MIB, 0) == content[:MIB]
        path.unlink()
        path.write_bytes(b"another of that name")
        volume.sync()
        piece = mmap.mmap(-1, BLOCK)
        piece[:] = os.urandom(BLOCK)
        os.pwrite(fd, piece, MIB)
        content[MIB : MIB + BLOCK] = piece[:]
        found = b"".join(pread_direct(fd, MIB, start) for start in range(0, len(content), MIB))
        assert found == content
    finally:
        os.close(fd)


def test_hard_links_read_alike_whatever_name_was_written_through(
    new_volume: Callable[..., Volume], policy: str
) -> None:
    volume = mounted(new_volume, "batched", policy)
    (volume.mount / "one").write_bytes(os.urandom(3 * MIB))
    os.link(volume.mount / "one", volume.mount / "two")
    volume.sync()
    for name, other in (("one", "two"), ("two", "one")):
        content = os.urandom(3 * MIB)
        with open(volume.mount / name, "r+b") as file:
            file.write(content)
        for _ in range(2):
            forget(volume, "one")
            assert (volume.mount / other).read_bytes() == content
            volume.sync()
    (volume.mount / "one").unlink()
    forget(volume, "two")
    assert (volume.mount / "two").read_bytes() == content
