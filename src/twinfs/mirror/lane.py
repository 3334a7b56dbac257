"""The secondary's own thread: what it does there happens in the order in which it was asked for."""

from __future__ import annotations

import errno
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import trio

_T = TypeVar("_T")

_PATIENCE_SECONDS: Final = 0.0005
"""A hop to a thread and back costs trio 100-190 us. Waiting in place for a change that takes 20 us is
cheaper for everybody; only what takes longer lets other requests go on."""


def gave_up() -> OSError:
    """What a caller gets of a call that was given up: the disk did not answer."""
    return OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


class Job(Generic[_T]):
    __slots__ = ("_call", "_callbacks", "_done", "_error", "_is_done", "_lock", "_result", "_token")

    def __init__(self, call: Callable[[], _T], token: trio.lowlevel.TrioToken) -> None:
        self._call = call
        self._token = token
        self._done = threading.Lock()
        self._done.acquire()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], object]] = []
        self._is_done = False
        self._result: _T | None = None
        self._error: BaseException | None = None

    def execute(self) -> None:
        try:
            result, error = self._call(), None
        except BaseException as raised:  # noqa: BLE001 - handed to the caller, whatever it is
            result, error = None, raised
        self._end(result, error)

    def give_up(self) -> None:
        """Answer whoever waits; what the thread may still bring is not listened to."""
        self._end(None, gave_up())

    def _end(self, result: _T | None, error: BaseException | None) -> None:
        with self._lock:
            if self._is_done:
                return
            self._result, self._error = result, error
            self._is_done = True
            callbacks, self._callbacks = self._callbacks, []
        self._done.release()
        for callback in callbacks:
            try:
                self._token.run_sync_soon(callback)
            except trio.RunFinishedError:
                return  # nobody waits any more

    @property
    def is_done(self) -> bool:
        return self._is_done

    def then(self, callback: Callable[[], object]) -> None:
        """Have the loop call it once this is done; at once where it is done already."""
        with self._lock:
            if not self._is_done:
                self._callbacks.append(callback)
                return
        callback()

    def result(self) -> _T:
        """Of one that is done; raises what the call raised."""
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # None only where _T is None

    async def wait(self) -> _T:
        if not self._done.acquire(timeout=_PATIENCE_SECONDS):
            event = trio.Event()
            self.then(event.set)
            if not event.is_set():
                # What a thread is doing cannot be undone: who stops waiting would lose count of it.
                with trio.CancelScope(shield=True):
                    await event.wait()
        return self.result()


class Lane:
    """One thread, first come first served. A job that hangs holds up the lane, not its callers' loop."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Job[object] | None] = queue.SimpleQueue()
        self._current: tuple[Job[object], float] | None = None
        self._is_given_up = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._current = (job, time.monotonic())
            if self._is_given_up:
                job.give_up()
            else:
                job.execute()
            self._current = None

    @property
    def busy_seconds(self) -> float:
        """How long the present job has been running; 0.0 without one."""
        current = self._current
        return 0.0 if current is None else time.monotonic() - current[1]

    def start(self, call: Callable[[], _T]) -> Job[_T]:
        """Queue `call`; its result is the job's to `wait` for."""
        job = Job(call, trio.lowlevel.current_trio_token())
        if self._is_given_up:
            job.give_up()
        else:
            self._jobs.put(job)  # type: ignore[arg-type]  # the queue does not care what a job returns
        return job

    async def run(self, call: Callable[[], _T]) -> _T:
        """Run `call` in the lane. It is queued before the first await: order of calls is order of work."""
        return await self.start(call).wait()

    def give_up(self) -> None:
        """Nobody waits for this lane any more, not even for the job that it is at: ETIMEDOUT for all.
        The thread ends when that job does."""
        self._is_given_up = True
        if (current := self._current) is not None:
            current[0].give_up()
        # What is queued is answered here, not by a thread that may hang.
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is not None:
                job.give_up()
        self._jobs.put(None)

    @property
    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    def close(self) -> None:
        """End when all that is queued is done."""
        self._jobs.put(None)
