"""The secondary's own thread: what it does there happens in the order in which it was asked for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import trio

_T = TypeVar("_T")

_PATIENCE_SECONDS: Final = 0.0005
"""A hop to a thread and back costs trio 100-190 us. Waiting in place for a change that takes 20 us is
cheaper for everybody; only what takes longer lets other requests go on."""


class Job(Generic[_T]):
    __slots__ = ("_call", "_done", "_error", "_event", "_is_done", "_lock", "_result", "_token")

    def __init__(self, call: Callable[[], _T], token: trio.lowlevel.TrioToken) -> None:
        self._call = call
        self._token = token
        self._done = threading.Lock()
        self._done.acquire()
        self._lock = threading.Lock()
        self._event: trio.Event | None = None
        self._is_done = False
        self._result: _T | None = None
        self._error: BaseException | None = None

    def execute(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
            self._error = error
        with self._lock:
            self._is_done = True
            event = self._event
        self._done.release()
        if event is not None:
            try:
                self._token.run_sync_soon(event.set)
            except trio.RunFinishedError:
                return  # nobody waits any more

    async def wait(self) -> _T:
        if not self._done.acquire(timeout=_PATIENCE_SECONDS):
            with self._lock:
                if not self._is_done:
                    self._event = trio.Event()
            if self._event is not None:
                # What a thread is doing cannot be undone: who stops waiting would lose count of it.
                with trio.CancelScope(shield=True):
                    await self._event.wait()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # None only where _T is None


class Lane:
    """One thread, first come first served. A job that hangs holds up the lane, not its callers' loop."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Job[object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.execute()

    def start(self, call: Callable[[], _T]) -> Job[_T]:
        """Queue `call`; its result is the job's to `wait` for."""
        job = Job(call, trio.lowlevel.current_trio_token())
        self._jobs.put(job)  # type: ignore[arg-type]  # the queue does not care what a job returns
        return job

    async def run(self, call: Callable[[], _T]) -> _T:
        """Run `call` in the lane. It is queued before the first await: order of calls is order of work."""
        return await self.start(call).wait()

    def close(self) -> None:
        self._jobs.put(None)
