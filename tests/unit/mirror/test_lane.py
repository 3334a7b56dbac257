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


async def test_a_hanging_job_does_not_stop_the_loop(lane: Lane) -> None:
    release = threading.Event()
    job = lane.start(release.wait)
    turns = 0
    with trio.move_on_after(0.2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(job.wait)
            while True:
                await trio.sleep(0.002)
                turns += 1
    assert turns > 10
    release.set()
    assert await job.wait()


async def test_a_caller_may_give_up_and_the_job_is_done_all_the_same(lane: Lane) -> None:
    done = threading.Event()
    release = threading.Event()

    def work() -> None:
        release.wait()
        done.set()

    with trio.move_on_after(0.01) as scope:
        await lane.run(work)
    assert scope.cancelled_caught
    release.set()
    await lane.run(lambda: None)
    assert done.is_set()


def test_a_job_that_ends_after_its_loop_is_no_error(lane: Lane) -> None:
    release, done = threading.Event(), threading.Event()

    async def leave() -> None:
        with trio.move_on_after(0.01):
            await lane.run(release.wait)

    trio.run(leave)
    release.set()

    async def look() -> None:
        await lane.run(done.set)

    trio.run(look)
    assert done.is_set()
