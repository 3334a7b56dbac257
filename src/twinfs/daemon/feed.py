"""Progress of one long operation, for however many clients watch it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from twinfs.daemon.protocol import Outcome, ProgressReply, Reply
from twinfs.model import Progress

_MIN_SECONDS_BETWEEN = 0.1


class ProgressFeed:
    """The latest position and, at the end, the outcome; positions nobody saw in time are dropped.

    A queue would let a client that stopped reading slow down the copying, or grow without bound.
    """

    def __init__(self) -> None:
        self._latest: Progress | None = None
        self._outcome: Outcome | None = None
        self._changed = trio.Event()
        self._finished = trio.Event()
        self._watchers = 0

    def publish(self, progress: Progress) -> None:
        self._latest = progress
        self._wake()

    def finish(self, outcome: Outcome) -> None:
        """Tell the end. Only the first outcome counts."""
        if self._outcome is None:
            self._outcome = outcome
            self._wake()
            self._finished.set()

    async def forward(self, send: Callable[[Reply], Awaitable[None]]) -> None:
        """Send positions as they come, at most ten a second, the last one always; then the outcome."""
        self._watchers += 1
        try:
            await send(await self._send_positions(send))
        finally:
            self._watchers -= 1
            self._wake()

    async def everybody_told(self) -> None:
        """Wait until nobody watches any more. The caller sets the deadline: a client may not read."""
        while self._watchers:
            await self._changed.wait()

    async def _send_positions(self, send: Callable[[Reply], Awaitable[None]]) -> Outcome:
        sent: Progress | None = None
        while True:
            # From the checks to the wait is one critical section: an await between could miss the wake-up.
            if self._latest is not None and self._latest is not sent:
                sent = self._latest
                await send(ProgressReply.from_progress(sent))
                with trio.move_on_after(_MIN_SECONDS_BETWEEN):
                    await self._finished.wait()
            elif self._outcome is not None:
                return self._outcome
            else:
                await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
