from __future__ import annotations

import contextlib
import os
import threading
import time

import pytest
import trio
import trio.testing

from twinfs.fuse.waiting import Waiting


@pytest.fixture
def requests():
    """A pipe in place of the kernel: what is written to the second is a request at the first."""
    ours, theirs = os.pipe()
    yield ours, theirs
    for fd in (ours, theirs):
        with contextlib.suppress(OSError):
            os.close(fd)


async def take(waiting: Waiting, fd: int) -> bytes:
    """As pyfuse3 does: the read blocks if nothing is there."""
    await waiting.wait_readable(fd)
    return os.read(fd, 1)


async def test_a_request_that_comes_soon_is_taken(requests):
    ours, theirs = requests
    waiting = Waiting()
    with trio.fail_after(60):
        for number in range(50):
            thread = threading.Timer(0.0001 if number % 2 else 0.002, os.write, (theirs, b"x"))
            thread.start()
            assert await take(waiting, ours) == b"x"
            thread.join()


async def test_who_waits_in_the_loop_goes_on_waiting_when_another_took_the_request(requests):
    ours, theirs = requests
    waiting = Waiting()
    taken: list[bytes] = []

    async def sleeper() -> None:
        taken.append(await take(waiting, ours))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper)
            await trio.testing.wait_all_tasks_blocked()
            os.write(theirs, b"1")
            # No checkpoint: the sleeper is woken for a request that is gone. Were it to read now, it would
            # hold up this whole thread.
            assert await take(waiting, ours) == b"1"
            await trio.testing.wait_all_tasks_blocked()
            assert taken == []
            os.write(theirs, b"2")
    assert taken == [b"2"]


async def test_several_wait_and_each_gets_one_request(requests):
    ours, theirs = requests
    waiting = Waiting()
    taken: list[bytes] = []

    async def worker() -> None:
        taken.append(await take(waiting, ours))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(worker)
            await trio.testing.wait_all_tasks_blocked()
            os.write(theirs, b"abcde")
    assert sorted(taken) == [b"a", b"b", b"c", b"d", b"e"]


async def test_other_tasks_have_their_turn_while_requests_never_end(requests):
    ours, theirs = requests
    waiting = Waiting()
    os.write(theirs, bytes(1000))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await trio.lowlevel.checkpoint()
        before = turns
        for _ in range(20):
            await take(waiting, ours)
            time.sleep(0.002)  # a request that takes long
        assert turns > before
        nursery.cancel_scope.cancel()


async def test_a_descriptor_that_is_closed_ends_the_wait(requests):
    ours, _ = requests
    waiting = Waiting()

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await waiting.wait_readable(ours)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            trio.lowlevel.notify_closing(ours)
