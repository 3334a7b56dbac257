"""Reads that both legs could answer. The secondary's bytes are made to differ behind the volume's back:
so an answer tells which leg it is from."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from twinfs.fsio.copy import read_whole
from twinfs.mirror import reads, sides
from twinfs.mirror.meter import PRIMARY, SECONDARY, LegMeter
from twinfs.mirror.nodes import Node
from twinfs.mirror.stream import CHUNK_BYTES, Stream
from twinfs.model import Mode, ReadPolicy
from unit.mirror.kit import Ground, User, new_ground, running

OURS, THEIRS = b"of the primary..", b"of the secondary"
MIB = 1 << 20


@pytest.fixture(autouse=True)
def nothing_is_cached_nor_in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "is_cached", lambda fd, offset, size: False)
    monkeypatch.setattr(reads, "_OPENING_SECONDS", 60)
    monkeypatch.setattr(LegMeter, "patience_seconds", lambda self: 60)


def ground_in(base: Path, mode: Mode, policy: ReadPolicy = ReadPolicy.BALANCE, **more: object) -> Ground:
    ground = new_ground(base, mode, **more)  # type: ignore[arg-type]  # passed through
    return Ground(ground.base, replace(ground.config, read_policy=policy))


def make_them_differ(ground: Ground, name: str = "f", content: bytes = THEIRS) -> None:
    path = ground.secondary / name
    times = path.stat()
    with open(path, "r+b") as file:
        file.write(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def prefer(user: User, leg: int) -> None:
    user.volume.content.reads._sooner = lambda request: leg  # type: ignore[method-assign]


async def put(user: User, content: bytes = OURS) -> Node:
    """On both legs, equal; and open."""
    await user.put("f", content)
    await user.volume.sync()
    node = user.lookup("f")
    await user.volume.content.open(node, os.O_RDWR)
    return node


async def answer(user: User, node: Node, offset: int = 0, size: int = 16) -> bytes:
    return bytes(await user.volume.content.read(node, offset, size))


Trouble = Callable[[User, Node, Ground], object]


async def test_what_is_in_sync_is_read_from_the_leg_that_is_sooner(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        for leg, wanted in ((SECONDARY, THEIRS), (PRIMARY, OURS)):
            prefer(user, leg)
            assert await answer(user, node) == wanted
            assert await answer(user, node, 10, 100) == wanted[10:]
            assert await answer(user, node, 16, 100) == b""
        user.volume.content.release(node)


async def test_while_the_legs_are_known_to_differ_the_secondary_is_not_asked(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        user.volume.content.reads.has_mismatches = True
        assert await answer(user, node) == OURS
        user.volume.content.reads.has_mismatches = False
        assert await answer(user, node) == THEIRS
        user.volume.content.release(node)


@pytest.mark.parametrize(("others", "leg"), ((0, PRIMARY), (1, SECONDARY)))
async def test_a_lone_sequential_reader_stays_whatever_of_its_own_is_waiting(
    tmp_path: Path, others: int, leg: int
) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        shared = user.volume.content.reads
        assert await answer(user, node) == OURS
        assert node.file is not None and node.file.sides is not None
        sides = node.file.sides
        request = reads.Request(node, node.file, sides, 16, 16)
        sides.asked(PRIMARY, 16, is_seek=False)
        for _ in range(5):
            shared.meters[PRIMARY].begin(16, is_seek=False)
        sides.waiting_on_primary = 5
        for _ in range(others):
            shared.meters[PRIMARY].begin(16, is_seek=True)
        assert shared._sooner(request) == leg
        sides.waiting_on_primary = 0
        user.volume.content.release(node)


async def test_what_the_primary_has_read_ahead_leaves_its_reader_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user, bytes(16 * MIB))
        shared = user.volume.content.reads
        await answer(user, node, 0, MIB)
        assert node.file is not None and node.file.sides is not None
        with monkeypatch.context() as cached:
            cached.setattr(reads, "is_cached", lambda fd, offset, size: True)
            for offset in range(MIB, 9 * MIB, MIB):
                await answer(user, node, offset, MIB)
        assert not node.file.sides.is_seek(PRIMARY, 9 * MIB)
        request = reads.Request(node, node.file, node.file.sides, 9 * MIB, MIB)
        assert shared._sooner(request) == PRIMARY
        user.volume.content.release(node)


async def test_who_reads_here_and_there_finds_the_secondary_open_soon(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user, bytes(8 * MIB))
        assert node.file is not None
        prefer(user, PRIMARY)
        await answer(user, node)
        assert node.file.sides is not None and node.file.sides.second is None
        await answer(user, node, 4 * MIB)
        assert node.file.sides.second is not None
        user.volume.content.release(node)


async def test_with_the_policy_primary_the_secondary_is_not_asked(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC, ReadPolicy.PRIMARY)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        assert await answer(user, node) == OURS
        user.volume.content.release(node)


def _other_times(user: User, node: Node, ground: Ground) -> None:
    os.utime(ground.secondary / "f", (1, 1))


def _other_size(user: User, node: Node, ground: Ground) -> None:
    make_them_differ(ground, content=THEIRS + b"!")


def _gone(user: User, node: Node, ground: Ground) -> None:
    (ground.secondary / "f").unlink()


def _a_fifo(user: User, node: Node, ground: Ground) -> None:
    (ground.secondary / "f").unlink()
    os.mkfifo(ground.secondary / "f")


def _marked(user: User, node: Node, ground: Ground) -> None:
    user.volume.core.mark(node, 0, 1)


def _copied(user: User, node: Node, ground: Ground) -> None:
    user.volume.core.copying.add(node.ident)


def _held(user: User, node: Node, ground: Ground) -> None:
    user.volume.core.holds[node.ident] = trio.Event()


def _suspect(user: User, node: Node, ground: Ground) -> None:
    user.volume.core.compare_later(b"f")


def _detached(user: User, node: Node, ground: Ground) -> None:
    user.volume.core.let_go_of_secondary()


def _asleep(user: User, node: Node, ground: Ground) -> None:
    user.volume.core.sleeps, user.volume.core.mode = True, Mode.BATCHED


@pytest.mark.parametrize("is_open_there", (True, False))
@pytest.mark.parametrize("trouble", (_marked, _copied, _held, _suspect, _detached, _asleep))
async def test_what_is_not_known_to_be_in_sync_is_read_from_the_primary(
    tmp_path: Path, trouble: Trouble, is_open_there: bool
) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        if is_open_there:
            assert await answer(user, node) == THEIRS
        trouble(user, node, ground)
        assert await answer(user, node) == OURS
        user.volume.core.copying.clear()
        user.volume.core.holds.clear()
        user.volume.content.release(node)


@pytest.mark.parametrize("trouble", (_other_times, _other_size, _gone, _a_fifo))
async def test_a_file_that_does_not_look_like_the_primarys_is_not_read(
    tmp_path: Path, trouble: Trouble
) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        trouble(user, node, ground)
        assert await answer(user, node) == OURS
        assert await answer(user, node) == OURS
        user.volume.content.release(node)


async def test_a_pending_change_of_names_keeps_it_from_being_opened_by_name(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        node = await put(user)
        await user.put("other", OURS)
        await user.volume.sync()
        make_them_differ(ground)
        make_them_differ(ground, "other", b"of another file!")
        prefer(user, SECONDARY)
        await user.rename("f", "g")
        await user.rename("other", "f")
        assert await answer(user, node) == OURS
        await user.volume.sync()
        assert await answer(user, node) == THEIRS
        user.volume.content.release(node)


async def test_what_is_open_there_follows_its_object_through_renames(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        assert await answer(user, node) == THEIRS
        await user.rename("f", "g")
        await user.put("f", b"another, newer..")
        assert await answer(user, node) == THEIRS
        await user.volume.sync()
        assert await answer(user, node) == THEIRS
        user.volume.content.release(node)


async def test_a_removed_file_that_is_open_is_the_primarys(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        assert await answer(user, node) == THEIRS
        await user.unlink("f")
        await user.volume.content.write(node, 0, b"NEWS")
        assert await answer(user, node) == b"NEWS" + OURS[4:]
        user.volume.content.release(node)


async def test_a_file_that_a_copy_has_replaced_is_opened_anew(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        node = await put(user)
        prefer(user, SECONDARY)
        assert await answer(user, node) == OURS
        await user.volume.content.write(node, 0, b"NEWS")
        assert await answer(user, node) == b"NEWS" + OURS[4:]
        await user.volume.sync()
        make_them_differ(ground)
        assert await answer(user, node) == THEIRS
        user.volume.content.release(node)


async def test_what_a_comparison_has_replaced_is_opened_anew(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        assert await answer(user, node) == THEIRS
        user.volume.core.compare_later(b"", 1)
        await user.volume.sync()
        assert (ground.secondary / "f").read_bytes() == OURS
        assert await answer(user, node) == OURS
        user.volume.content.release(node)


async def test_what_is_excluded_is_read_from_the_primary(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC, exclude=("f",))
    async with running(ground) as user:
        node = await put(user)
        (ground.secondary / "f").write_bytes(THEIRS)
        os.utime(ground.secondary / "f", ns=(0, (ground.primary / "f").stat().st_mtime_ns))
        prefer(user, SECONDARY)
        assert await answer(user, node) == OURS
        user.volume.content.release(node)


async def test_after_a_change_of_roles_the_other_leg_is_the_secondary(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        prefer(user, SECONDARY)
        assert await answer(user, node) == OURS
        await user.volume.roles.promote()
        make_them_differ(ground)
        assert await answer(user, node) == OURS
        prefer(user, PRIMARY)
        assert await answer(user, node) == THEIRS
        user.volume.content.release(node)


class Slow:
    """Lets reads of one leg wait until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ground: Ground, leg: int) -> None:
        self._status = ((ground.primary, ground.secondary)[leg] / "f").stat()
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.ended_on_the_same_file = threading.Event()
        monkeypatch.setattr(sides, "read_whole", self._read)

    def _read(self, fd: int, buffer: memoryview, offset: int) -> int:
        filled = read_whole(fd, buffer, offset)
        if os.path.samestat(os.fstat(fd), self._status):
            self.reached.set()
            self.go_on.wait()
            if os.path.samestat(os.fstat(fd), self._status):
                self.ended_on_the_same_file.set()
        return filled

    async def end(self) -> None:
        self.go_on.set()
        assert await trio.to_thread.run_sync(self.ended_on_the_same_file.wait, 30)

    async def until_reached(self) -> None:
        await trio.to_thread.run_sync(self.reached.wait)


async def _write(user: User, node: Node) -> bytes:
    await user.volume.content.write(node, 0, b"NEWS")
    return b"NEWS" + OURS[4:]


async def _cut(user: User, node: Node) -> bytes:
    await user.volume.content.truncate(node, 4)
    return OURS[:4]


async def _cut_and_grow(user: User, node: Node) -> bytes:
    await user.volume.content.truncate(node, 4)
    await user.volume.content.truncate(node, len(OURS))
    return OURS[:4] + bytes(len(OURS) - 4)


async def _compare(user: User, node: Node) -> bytes:
    user.volume.core.compare_later(b"", 1)
    return OURS


@pytest.mark.parametrize("change", (_write, _cut, _cut_and_grow, _compare))
async def test_what_changes_while_the_secondary_reads_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[User, Node], Awaitable[bytes]]
) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        slow = Slow(monkeypatch, ground, SECONDARY)
        found: list[bytes] = []

        async def look() -> None:
            found.append(await answer(user, node))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await slow.until_reached()
            wanted = await change(user, node)
            # Equal and without a mark again: only who counts the changes knows.
            await user.volume.sync()
            assert node.stale is None
            slow.go_on.set()
        assert found == [wanted]
        user.volume.content.release(node)


async def test_a_secondary_that_somebody_cut_off_is_not_believed(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        prefer(user, SECONDARY)
        assert await answer(user, node) == THEIRS
        os.truncate(ground.secondary / "f", 8)
        assert await answer(user, node) == OURS
        user.volume.content.release(node)


@pytest.mark.parametrize(("leg", "wanted"), ((SECONDARY, OURS), (PRIMARY, THEIRS)))
async def test_a_leg_that_keeps_one_waiting_costs_its_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leg: int, wanted: bytes
) -> None:
    ground = ground_in(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        node = await put(user)
        make_them_differ(ground)
        prefer(user, leg)
        slow = Slow(monkeypatch, ground, leg)
        monkeypatch.setattr(LegMeter, "patience_seconds", lambda self: 0.01)
        assert await answer(user, node) == wanted
        assert slow.reached.is_set()
        # What is late writes nowhere and closes nothing of others'.
        user.volume.content.release(node)
        again = await put_another(user)
        await slow.end()
        assert await answer(user, again) == b"of another file."
        user.volume.content.release(again)


async def put_another(user: User) -> Node:
    await user.put("another", b"of another file.")
    node = user.lookup("another")
    await user.volume.content.open(node, os.O_RDONLY)
    return node


@pytest.mark.parametrize("policy", (ReadPolicy.BALANCE, ReadPolicy.STRIPE))
async def test_an_error_of_the_secondary_is_not_the_callers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: ReadPolicy
) -> None:
    ground = ground_in(tmp_path, Mode.SYNC, policy)
    content = os.urandom(10 * MIB + 5)
    async with running(ground) as user:
        node = await put(user, content)
        prefer(user, SECONDARY)
        events: list[tuple[str, str]] = []
        user.volume.on_event = lambda kind, message: events.append((kind, message))
        status = (ground.secondary / "f").stat()

        def fail(fd: int, buffer: memoryview, offset: int) -> int:
            if os.path.samestat(os.fstat(fd), status):
                raise OSError(5, "Input/output error")
            return read_whole(fd, buffer, offset)

        monkeypatch.setattr(sides, "read_whole", fail)
        assert await read_through(user, node, len(content)) == content
        assert events == [("error", "the secondary cannot read f: Input/output error; the primary could")]
        assert user.volume.core.is_secondary_up
        user.volume.content.release(node)


async def read_through(user: User, node: Node, size: int) -> bytes:
    step = 128 * 1024
    return b"".join([await answer(user, node, offset, step) for offset in range(0, size, step)])


async def test_a_long_read_comes_from_both_legs(tmp_path: Path) -> None:
    ground = ground_in(tmp_path, Mode.SYNC, ReadPolicy.STRIPE)
    ours, theirs = b"1" * (24 * MIB + 77), b"2" * (24 * MIB + 77)
    async with running(ground) as user:
        node = await put(user, ours)
        make_them_differ(ground, content=theirs)
        prefer(user, SECONDARY)
        assert await answer(user, node) == theirs[:16]
        found = await read_through(user, node, len(ours))
        assert len(found) == len(ours)
        counts = {digit: found.count(digit) for digit in (b"1", b"2")}
        assert sum(counts.values()) == len(found)
        # Which leg is quicker, and so has the larger part, is the machine's business. Each has a chunk.
        assert all(count >= 2 * MIB for count in counts.values()), counts
        user.volume.content.release(node)


def _has_all_ahead(stream: Stream) -> bool:
    return bool(stream._chunks) and all(chunk.job.is_done for chunk in stream._chunks.values())


@pytest.mark.parametrize("mode", (Mode.SYNC, Mode.BATCHED))
async def test_what_was_read_ahead_is_not_given_out_once_it_has_changed(tmp_path: Path, mode: Mode) -> None:
    ground = ground_in(tmp_path, mode, ReadPolicy.STRIPE)
    content = bytearray(os.urandom(24 * MIB))
    async with running(ground) as user:
        node = await put(user, bytes(content))
        prefer(user, SECONDARY)
        await answer(user, node, 20 * MIB, 16)
        assert await read_through(user, node, 2 * MIB) == content[: 2 * MIB]
        assert node.file is not None and node.file.sides is not None
        stream = node.file.sides.stream
        assert stream is not None
        with trio.fail_after(30):
            while not _has_all_ahead(stream):  # noqa: ASYNC110 - what a thread does
                await trio.sleep(0.001)
        place = max(stream._chunks) * CHUNK_BYTES
        piece = os.urandom(MIB)
        await user.volume.content.write(node, place, piece)
        content[place : place + MIB] = piece
        # Equal on both again: only what was read before is not.
        await user.volume.sync()
        assert node.stale is None
        assert await answer(user, node, place, 128 * 1024) == content[place : place + 128 * 1024]
        # Nor what was not changed, in an order that no reader has.
        for offset in (place + MIB, *range(2 * MIB, len(content), MIB // 2)):
            assert await answer(user, node, offset, 64 * 1024) == content[offset : offset + 64 * 1024]
        user.volume.content.release(node)
