"""Whether the primary still takes what is written to it: asked of the disk after an error, and, once it has
refused, every few seconds until it does again."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final

import trio

from twinfs.mirror.failures import PRIMARY_FAILURES
from twinfs.mirror.pair import Pair

_ANSWER_IS_GOOD_FOR_SECONDS: Final = 0.2
"""One bad block is met again and again; asking the disk each time would cost two fsyncs."""

_REFUSAL_IS_GOOD_FOR_SECONDS: Final = 5.0
"""Of a disk that nobody can take the place of: its callers get their errors without waiting for it."""


class Health:
    """`pair.primary_problem` says why the primary counts as failed. `on_event` is told (kind, message)."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._answered = self._refused = float("-inf")
        self._is_asking = False
        self.on_event: Callable[[str, str], None] = lambda kind, message: None

    def of_another_disk(self) -> Health:
        """When that has become the primary: what the old one said, or still owes, is not about it."""
        health = Health(self._pair)
        health.on_event = self.on_event
        return health

    async def answers(self, error: OSError, *, is_needed: bool) -> bool:
        """After an `error` of the primary: whether it can still be written.

        `is_needed`: nobody could go on without it, so a refusal of some seconds ago is answer enough.
        """
        now = trio.current_time()
        if error.errno == errno.EIO and now - self._answered < _ANSWER_IS_GOOD_FOR_SECONDS:
            return True
        if is_needed and now - self._refused < _REFUSAL_IS_GOOD_FOR_SECONDS:
            return False
        return await self.ask()

    async def ask(self) -> bool:
        """By writing its label; a disk that hangs is given up after `leg_timeout`, and not asked again
        before it has answered."""
        if self._is_asking:
            return False
        refused, primary = False, self._pair.primary
        self._is_asking = True

        def write() -> None:
            try:
                primary.write_label(is_in_use=True)
            finally:
                self._is_asking = False

        with trio.move_on_after(self._pair.config.leg_timeout_seconds) as patience:
            try:
                await trio.to_thread.run_sync(write, abandon_on_cancel=True)
            except OSError as refusal:
                refused = refusal.errno in PRIMARY_FAILURES
        if refused or patience.cancelled_caught:
            self._refused = trio.current_time()
            return False
        self._answered = trio.current_time()
        return True

    def failed(self, error: OSError, consequence: str) -> None:
        """Say so, once."""
        if not self._pair.primary_problem:
            self._pair.primary_problem = error.strerror or str(error)
            self.on_event("primary_failed", f"the primary failed: {error}{consequence}")

    def works_again(self) -> None:
        self._refused = float("-inf")
        self._pair.primary_problem = ""
        self.on_event("primary_back", f"the primary, {self._pair.primary.path}, can be written again")
