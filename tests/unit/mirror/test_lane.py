"""The secondary's thread: order, errors, and a loop that goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import trio

from twinfs.mirror.lane import Lane


@pytest.fixture
def lane() -> Iterator[Lane]:
    made = Lane("test")
    yield made
    made.close()


async def test_jobs_are_done_in_the_order_in_which_they_were_asked_for(lane: Lane) -> None:
    done: list[int] = []
    jobs = [lane.start(lambda index=index: done.append(index)) for index in range(200)]  # type: ignore[misc]
    for job in reversed(jobs):
        await job.wait()
    assert done == list(range(200))


async def test_the_call_is_queued_before_the_first_await(lane: Lane) -> None:
    done: list[str] = []
    async with trio.open_nursery() as nursery:
        first = lane.start(lambda: (time.sleep(0.02), done.append("first")))
        nursery.start_soon(first.wait)
        await lane.run(lambda: done.append("second"))
    assert done == ["first", "second"]


async def test_a_result_and_an_error_come_back_to_their_own_caller(lane: Lane) -> None:
    def fail() -> None:
        raise OSError(5, "a dying disk")

    failing, working = lane.start(fail), lane.start(lambda: 42)
    assert await working.wait() == 42
    with pytest.raises(OSError, match="dying"):
        await failing.wait()
    assert await lane.run(lambda: "still alive") == "still alive"


async def test_a_slow_job_fails_its_caller_too(lane: Lane) -> None:
    def fail() -> None:
        time.sleep(0.05)
        raise OSError(5, "a slow, dying disk")

    with pytest.raises(OSError, match="slow"):
        await lane.run(fail)


async def test_a_slow_job_does_not_stop_the_loop(lane: Lane) -> None:
    release = threading.Event()
    turns = 0

    async def count() -> None:
        nonlocal turns
        for _ in range(20):
            await trio.sleep(0.002)
            turns += 1
        release.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        # It waits for a loop that goes on without it.
        assert await lane.run(lambda: release.wait(30))
    assert turns == 20


async def test_who_is_cancelled_still_learns_how_the_job_ended(lane: Lane) -> None:
    """What a thread is doing cannot be undone: who stops waiting would lose count of it."""
    release = threading.Event()
    results: list[str] = []

    def work() -> str:
        release.wait(30)
        return "done"

    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            results.append(await lane.run(work))

        nursery.start_soon(wait)
        await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
        release.set()
    assert results == ["done"]


def test_a_job_that_ends_after_its_loop_is_no_error(lane: Lane) -> None:
    release, done = threading.Event(), threading.Event()

    async def leave() -> None:
        lane.start(release.wait)

    trio.run(leave)
    release.set()

    async def look() -> None:
        await lane.run(done.set)

    trio.run(look)
    assert done.is_set()
