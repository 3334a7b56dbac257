"""Progress for however many watchers, with trio's clock instead of sleeps."""

from __future__ import annotations

import trio
import trio.testing

from twinfs.daemon.feed import ProgressFeed
from twinfs.daemon.protocol import DoneReply, ErrorReply
from twinfs.model import Progress


def position(number):
    return Progress("copying", number, 100, 0, 0, "")


async def collect(feed, into):
    async def send(reply):
        into.append(reply)

    await feed.forward(send)


async def test_every_watcher_gets_the_last_position_and_the_outcome(nursery, autojump_clock):
    feed, one, two = ProgressFeed(), [], []
    nursery.start_soon(collect, feed, one)
    nursery.start_soon(collect, feed, two)
    for number in range(100):
        feed.publish(position(number))
        await trio.sleep(0.01)
    feed.finish(DoneReply())
    await feed.everybody_told()
    for replies in (one, two):
        assert replies[-1] == DoneReply()
        assert replies[-2].files_done == 99
        # A second of positions, ten a second.
        assert 8 <= len(replies) <= 13


async def test_a_slow_watcher_does_not_hold_up_the_work(nursery, autojump_clock):
    feed, sent = ProgressFeed(), []

    async def send(reply):
        await trio.sleep(1000)
        sent.append(reply)

    nursery.start_soon(feed.forward, send)
    begin = trio.current_time()
    for number in range(100):
        feed.publish(position(number))
        await trio.lowlevel.checkpoint()
    feed.finish(DoneReply())
    assert trio.current_time() == begin
    await feed.everybody_told()
    assert [type(reply).__name__ for reply in sent] == ["ProgressReply", "ProgressReply", "DoneReply"]


async def test_who_comes_late_hears_the_outcome_at_once():
    feed, replies = ProgressFeed(), []
    feed.finish(ErrorReply("no"))
    feed.finish(DoneReply())
    await collect(feed, replies)
    assert replies == [ErrorReply("no")]


async def test_a_watcher_that_goes_away_is_no_longer_waited_for():
    feed = ProgressFeed()
    async with trio.open_nursery() as watchers:
        watchers.start_soon(collect, feed, [])
        await trio.testing.wait_all_tasks_blocked()
        watchers.cancel_scope.cancel()
    with trio.fail_after(1):
        await feed.everybody_told()
