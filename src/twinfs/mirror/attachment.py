"""The secondary for as long as it is attached: every call on that disk is made by a thread of this.

A disk can stop answering without an error, and what a thread is waiting for there cannot be called
back. So the threads can be given up: their callers get ETIMEDOUT, their descriptors stay open until the
calls have come back (a number that is closed and used again would lead a late call to another file), and
the same disk is not attached again before that.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import trio

from twinfs.journal.log import IntentLog
from twinfs.mirror.applier import Applier
from twinfs.mirror.lane import Job, Lane

_T = TypeVar("_T")


_CLOSING_SECONDS: Final = 0.02
_MOST_TO_CLOSE: Final = 64


class Attachment:
    """`lane` is for names, in order; `data` for writes to open files; `call` for what may take long."""

    def __init__(self, root_fd: int, device: int, log: IntentLog) -> None:
        """`device` is the file system's st_dev: asking for it later could hang."""
        self.device = device
        self.applier = Applier(root_fd, log)
        self.lane = Lane("secondary")
        self.data = Lane("secondary-data")
        self.lock = threading.Lock()
        """Held while what the lane's thread has done is noted, and to give it up."""
        self.is_given_up = False
        self._is_closed = False
        self._calls: dict[int, tuple[float, Job[object] | None]] = {}
        self._numbers = itertools.count()
        self._reads: dict[int, float] = {}
        self._closing = threading.Lock()
        self._to_close: list[int] = []
        self._afterwards: list[Callable[[], None]] = []

    async def call(self, call: Callable[[], _T]) -> _T:
        """Run `call` in a thread of its own, beside the lanes. OSError ETIMEDOUT when it is given up."""
        return await self.start(call).wait()

    def start(self, call: Callable[[], _T], *, is_read: bool = False) -> Job[_T]:
        """The same; the result is the job's to `wait` for. `is_read`: a short one, of a file's content."""
        number = next(self._numbers)
        job = Job(call, trio.lowlevel.current_trio_token())
        if self.is_given_up:
            job.give_up()
            return job

        def run() -> None:
            try:
                job.execute()
            finally:
                self._reads.pop(number, None)
                del self._calls[number]

        if is_read:
            self._reads[number] = time.monotonic()
        self._calls[number] = (time.monotonic(), job)  # type: ignore[assignment]  # as in Lane.start
        threading.Thread(target=run, name="secondary-call", daemon=True).start()
        return job

    def busy_seconds(self) -> float:
        """How long the oldest call has been waiting for the disk; 0.0 without one."""
        now = time.monotonic()
        oldest = max((now - begun for begun, _ in list(self._calls.values())), default=0.0)
        return max(oldest, self.lane.busy_seconds, self.data.busy_seconds)

    def reading_seconds(self) -> float:
        """How long the oldest read has been waiting for the disk; 0.0 without one."""
        now = time.monotonic()
        return max((now - begun for begun in list(self._reads.values())), default=0.0)

    def close_later(self, fd: int) -> None:
        """Close a descriptor of the disk once all that was asked for before is done.

        close(2) waits for a server on network and FUSE file systems: not in the caller's thread.
        """
        with self._closing:
            self._to_close.append(fd)
            waiting = len(self._to_close)
        if self.is_given_up:
            if self._is_closed:  # all calls had come back: nobody else would
                threading.Thread(target=self._close_some, name="secondary-close", daemon=True).start()
        elif waiting == 1:
            # Together with those of the next moments: to wake a thread for each costs more than closing.
            trio.lowlevel.spawn_system_task(self._close_soon)
        elif waiting == _MOST_TO_CLOSE:
            self.data.start(self._close_some)

    async def _close_soon(self) -> None:
        await trio.sleep(_CLOSING_SECONDS)
        if not self.is_given_up and self._to_close:
            self.data.start(self._close_some)

    def _close_some(self) -> None:
        with self._closing:
            fds, self._to_close = self._to_close, []
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)  # what the disk says to that, it has said to fsync

    def give_up(self, fds: list[int]) -> None:
        """Answer everybody who waits, now. `fds` are closed when all calls have come back."""
        with self.lock:
            self.is_given_up = True
        self._to_close.extend(fds)
        for _, job in list(self._calls.values()):
            if job is not None:
                job.give_up()
        self.lane.give_up()
        self.data.give_up()

    def afterwards(self, call: Callable[[], None]) -> None:
        """Of one that was given up: what is to be done when all calls have come back."""
        self._afterwards.append(call)

    def has_come_back(self) -> bool:
        """Of one that was given up: no thread is waiting for that disk any more, and what it had open
        is closed. That is done in a thread: it could hang again."""
        if self._calls or not self.lane.has_ended or not self.data.has_ended:
            return False
        if self._is_closed:
            return True
        self._is_closed = True
        number = next(self._numbers)
        self._calls[number] = (time.monotonic(), None)
        threading.Thread(target=partial(self._close_all, number), name="secondary-close", daemon=True).start()
        return False

    def _close_all(self, number: int) -> None:
        for call in self._afterwards:
            with contextlib.suppress(OSError):
                call()
        self._close_some()
        self.applier.close()
        del self._calls[number]

    async def close(self, root_fd: int) -> None:
        """At the end of the volume: descriptors and threads go."""
        if root_fd >= 0:
            self.close_later(root_fd)
        with contextlib.suppress(OSError):
            await self.data.run(self._close_some)
            await self.lane.run(self.applier.close)
        self.end()

    def end(self) -> None:
        """Its threads end when they have done what they were asked for."""
        self.lane.close()
        self.data.close()
