"""Events on their way: in order, bounded, and never in anybody's way."""

from __future__ import annotations

import threading
import time

import pytest

from support.volume import wait_until
from twinfs.daemon.command import CommandError
from twinfs.daemon.outbox import Outbox
from twinfs.model import Event, Notice, Severity


def notice(kind):
    return Notice(Event(1.0, "photos", kind, kind), Severity.INFO)


class Recorder:
    """A channel that keeps what it is handed, and can be held up."""

    name = "recorder"

    def __init__(self, at_once=1, pause_seconds=0.0):
        self.at_once, self.pause_seconds = at_once, pause_seconds
        self.deliveries = []
        self.is_open = threading.Event()
        self.is_open.set()
        self.entered = threading.Semaphore(0)
        self.error = None
        self.was_killed = False

    def wants(self, notice):
        return notice.event.kind != "unwanted"

    def deliver(self, notices):
        self.entered.release()
        self.is_open.wait(10)
        if self.error is not None:
            raise self.error
        self.deliveries.append([notice.event.kind for notice in notices])
        return "done"

    def kill(self):
        self.was_killed = True
        self.is_open.set()


def test_events_are_handed_on_one_by_one_in_order():
    channel = Recorder()
    outbox = Outbox(channel)
    for number in range(50):
        outbox.put(notice(str(number)))
    outbox.close(5)
    assert channel.deliveries == [[str(number)] for number in range(50)]


def test_what_the_channel_does_not_want_is_not_handed_on():
    channel = Recorder()
    outbox = Outbox(channel)
    for kind in ("a", "unwanted", "b"):
        outbox.put(notice(kind))
    outbox.close(5)
    assert channel.deliveries == [["a"], ["b"]]


def test_a_channel_that_hangs_holds_nobody_up_and_a_flood_is_counted_in_its_place():
    channel = Recorder()
    channel.is_open.clear()
    outbox = Outbox(channel, max_waiting=3)
    outbox.put(notice("first"))
    channel.entered.acquire(timeout=5)
    begin = time.monotonic()
    for number in range(10_000):
        outbox.put(notice(str(number)))
    assert time.monotonic() - begin < 2
    channel.is_open.set()
    wait_until(lambda: len(channel.deliveries) == 5, 5, "not handed on")
    outbox.put(notice("after the flood"))
    outbox.close(5)
    assert channel.deliveries == [
        ["first"],
        ["0"],
        ["1"],
        ["2"],
        ["events_left_out"],
        ["after the flood"],
    ]


def test_the_count_of_what_was_left_out_is_told():
    messages = []
    channel = Recorder()
    channel.deliver = lambda notices: messages.extend(notice.event.message for notice in notices)
    outbox = Outbox(channel, max_waiting=1)
    with outbox._changed:  # the thread cannot take any
        for number in range(5):
            outbox.put(notice(str(number)))
    outbox.close(5)
    assert messages == ["0", "4 events came too fast to be told one by one"]


def test_what_waits_during_a_pause_goes_together():
    channel = Recorder(at_once=100, pause_seconds=0.3)
    outbox = Outbox(channel)
    outbox.put(notice("first"))
    wait_until(lambda: channel.deliveries, 5, "not handed on")
    for number in range(5):
        outbox.put(notice(str(number)))
    wait_until(lambda: len(channel.deliveries) == 2, 5, "not handed on")
    assert channel.deliveries == [["first"], ["0", "1", "2", "3", "4"]]
    outbox.close(5)


def test_the_end_does_not_wait_for_a_pause():
    channel = Recorder(at_once=100, pause_seconds=1000)
    outbox = Outbox(channel)
    outbox.put(notice("first"))
    wait_until(lambda: channel.deliveries, 5, "not handed on")
    outbox.put(notice("second"))
    begin = time.monotonic()
    outbox.close(5)
    assert time.monotonic() - begin < 2
    assert channel.deliveries == [["first"], ["second"]]


@pytest.mark.parametrize("error", [CommandError("exit code 1"), ZeroDivisionError("bug")])
def test_a_failure_is_logged_and_counted_and_the_next_one_is_tried(error, caplog):
    channel = Recorder()
    channel.error = error
    outbox = Outbox(channel)
    outbox.put(notice("lost"))
    wait_until(lambda: outbox.failed == 1, 5, "not tried")
    channel.error = None
    outbox.put(notice("kept"))
    outbox.close(5)
    assert channel.deliveries == [["kept"]]
    assert (
        f"recorder: lost was not handed on: {'exit' if 'exit' in str(error) else 'internal'}" in caplog.text
    )


def test_the_end_comes_in_time_and_says_what_was_not_told(caplog):
    channel = Recorder()
    channel.is_open.clear()
    outbox = Outbox(channel)
    for number in range(3):
        outbox.put(notice(str(number)))
    channel.entered.acquire(timeout=5)
    begin = time.monotonic()
    outbox.close(0.1)
    assert time.monotonic() - begin < 2
    assert channel.was_killed
    assert "not handed on before the end: 3 events" in caplog.text
    outbox.put(notice("too late"))
    assert "too late" not in str(channel.deliveries)


def test_nothing_is_started_for_nothing():
    outbox = Outbox(Recorder())
    outbox.close(5)
    assert not any(thread.name == "twinfs-recorder" for thread in threading.enumerate())
