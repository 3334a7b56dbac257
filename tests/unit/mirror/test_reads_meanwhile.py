"""What happens while the secondary reads: changes, errors, hanging, reading ahead."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from twinfs.fsio.copy import read_whole
from twinfs.mirror import sides
from twinfs.mirror.meter import PRIMARY, SECONDARY, LegMeter
from twinfs.mirror.nodes import Node
from twinfs.mirror.stream import CHUNK_BYTES, Stream
from twinfs.model import Mode, ReadPolicy
from unit.mirror.kit import Ground, User, running
from unit.mirror.reading import MIB, OURS, THEIRS, answer, ground_in, make_them_differ, prefer, put

pytestmark = pytest.mark.usefixtures("nothing_is_cached_nor_in_a_hurry")


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
