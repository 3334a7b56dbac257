"""Readers end at once, or without anybody waiting for it."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from typing import Any

from twinfs.images.worker import process


def test_a_reader_that_is_stopped_leaves_nothing_behind():
    started, channel = process.start()
    with channel:
        process.stop(started)
    assert started.returncode is not None


class Stuck:
    """In a system call on a disk that does not answer: SIGKILL waits for that."""

    def __init__(self) -> None:
        self.was_killed = False
        self.disk_answers = threading.Event()
        self.is_reaped = threading.Event()

    def kill(self) -> None:
        self.was_killed = True

    def wait(self, timeout: float | None = None) -> int:
        if not self.disk_answers.wait(timeout):
            raise subprocess.TimeoutExpired("reader", timeout or 0)
        self.is_reaped.set()
        return -9


def test_a_reader_that_cannot_die_yet_is_not_waited_for():
    stuck: Any = Stuck()
    begin = time.monotonic()
    process.stop(stuck)
    assert time.monotonic() - begin < 5
    assert stuck.was_killed and not stuck.is_reaped.is_set()
    stuck.disk_answers.set()
    assert stuck.is_reaped.wait(10)


def test_starved_is_who_could_work_and_is_not_let(monkeypatch):
    any_process: Any = None
    threads = [(b"S", 1.0), (b"R", 2.0)]
    monkeypatch.setattr(process, "_threads", lambda _: threads)
    assert process.is_starved(any_process, 2.9, 1.0)
    assert process.is_starved(any_process, 2.6, 1.0)
    assert not process.is_starved(any_process, 2.4, 1.0)  # it had half a processor
    threads = [(b"S", 1.0), (b"D", 2.0)]
    assert process.is_starved(any_process, 3.0, 1.0)
    for state in (b"S", b"T", b"Z"):
        threads = [(state, 3.0)]
        assert not process.is_starved(any_process, 3.0, 1.0)


def test_a_process_that_is_stopped_is_not_starved():
    started, channel = process.start()
    with channel:
        started.send_signal(signal.SIGSTOP)
        while not any(state == b"T" for state, _ in process._threads(started)):
            time.sleep(0.01)
        assert not process.is_starved(started, process.work_seconds(started), 1.0)
        process.stop(started)
