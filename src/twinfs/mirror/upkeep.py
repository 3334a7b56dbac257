"""What goes on behind the callers: batches, settling, and looking after the secondary."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from twinfs.errors import TwinfsError
from twinfs.fsio.metadata import SourceError
from twinfs.mirror import recovery
from twinfs.mirror.core import Core
from twinfs.mirror.drain import Drainer
from twinfs.mirror.failures import PRIMARY_FAILURES, is_shortage
from twinfs.mirror.hang import HangWatch
from twinfs.mirror.mend import Mender
from twinfs.mirror.pair import Pair
from twinfs.mirror.quarantine_watch import QuarantineWatch
from twinfs.mirror.schedule import seconds_until
from twinfs.mirror.versions.expiry import Expiry
from twinfs.model import LegState, Mode
from twinfs.words import count

_log: Final = logging.getLogger(__name__)
RETRY_SECONDS: Final = 10.0
_SETTLE_SECONDS: Final = 1.0
_LOG_LOOK_SECONDS: Final = 2.0
_LARGE_LOG_BYTES: Final = 16 * 1024 * 1024


class Upkeep:
    """Runs from the mount to the unmount. `on_event` is told (kind, message)."""

    def __init__(self, core: Core, pair: Pair, drainer: Drainer, mender: Mender) -> None:
        self._core = core
        self._pair = pair
        self._drainer = drainer
        self._mender = mender
        self._wake = trio.Event()
        self._catching_up = trio.Lock()
        self._is_distrusting = False
        self.interval_seconds = pair.config.interval_seconds
        self.at = pair.config.at
        self.on_event: Callable[[str, str], None] = lambda kind, message: None
        self.on_caught_up: Callable[[], None] = lambda: None
        self.on_primary_refused: Callable[[OSError], None] = lambda error: None
        self.look_at_primary: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        self.expiry = Expiry(core, pair)
        self.quarantine = QuarantineWatch(core, pair)
        core.wake = self.wake
        core.on_secondary_error = self._on_secondary_error

    def wake(self) -> None:
        """There may be something to do before the pause is over."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with self._watching(), trio.open_nursery() as nursery:
            nursery.start_soon(self._check_now_and_then)
            nursery.start_soon(self._watch_log)
            nursery.start_soon(self._mender.run)
            nursery.start_soon(self.expiry.run)
            nursery.start_soon(self.quarantine.run)
            while True:
                with trio.move_on_after(self._pause_seconds()):
                    await self._wake.wait()
                self._wake = trio.Event()
                await self._turn()

    def _pause_seconds(self) -> float:
        core = self._core
        has_troubles = self._drainer.has_troubles or self._is_distrusting
        if not core.is_secondary_up or has_troubles or core.log.is_failing or core.is_held:
            return RETRY_SECONDS
        if core.compares:
            return 0
        if core.mode is Mode.SYNC:
            return _SETTLE_SECONDS
        return seconds_until(self.at) if self.at else self.interval_seconds

    async def _turn(self) -> None:
        core = self._core
        was_down = not core.is_secondary_up
        if was_down and not await self.look_for_secondary():
            return
        try:
            was_behind = core.is_behind
            if core.mode is Mode.BATCHED or was_behind or was_down:
                await self._drainer.drain()
            else:
                await self._drainer.settle()
            if was_behind and core.is_secondary_asleep:
                await core.look_at_second_space()  # while it is awake
                await self.expiry.turn()
                await self.quarantine.turn()
            if not core.is_behind and core.is_secondary_up:
                await self.caught_up()
            await self._shorten_log()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        if is_shortage(error) or isinstance(error, SourceError):
            _log.warning("to be tried again: %s", error)
        else:
            self._core.secondary_failed(error)

    async def look_for_secondary(self) -> bool:
        """After a failure: whether the secondary can be used again."""
        core, pair = self._core, self._pair
        async with self._drainer.lock:
            return core.is_secondary_up or await pair.secondary.look_again(core, pair.primary)

    async def caught_up(self) -> None:
        """The secondary has all that it missed: say so on the labels, and to people, once."""
        core, pair = self._core, self._pair
        try:
            async with self._catching_up:
                if pair.secondary.is_known_equal(pair.primary):
                    pair.secondary.state = LegState.IN_SYNC
                    return
                compared, differing = await self._drainer.sample.compare(core)
                if differing:
                    self._distrust(compared, differing)
                    return
                is_news = await pair.secondary.caught_up(core, pair.primary)
        except OSError as error:
            self._core.secondary_failed(error)
            return
        self._is_distrusting = False
        if is_news:
            self.on_caught_up()
            self.on_event("secondary_back", "the secondary works again and has what it had missed")

    def _distrust(self, compared: int, differing: list[bytes]) -> None:
        if not self._is_distrusting:
            self._is_distrusting = True
            name = os.fsdecode(differing[0])
            self.on_event(
                "verify_failed",
                f"{len(differing)} of {count(compared, 'file')} copied to {self._pair.secondary.path} read"
                f" back otherwise, {name} for one: everything is compared, byte by byte",
            )
        self._core.compare_later(b"", 1)

    async def _shorten_log(self) -> None:
        """A log that never came to rest: write it anew, with what is pending."""
        core = self._core
        if core.log.size_bytes > _LARGE_LOG_BYTES:
            async with self._drainer.lock, core.lane_at_rest() as is_at_rest:
                if is_at_rest:
                    core.log.start(recovery.records_of(core), core.log.last_number, core.durable_ns)

    async def _bound_log(self) -> None:
        """Memory and log stay small, however long the secondary is away or the next batch is off."""
        core = self._core
        if len(core.pending) + len(core.stale) <= self._pair.config.log_limit:
            return
        if core.is_secondary_up:
            self.wake()
            return
        async with self._drainer.lock:
            self._forget_single_changes()

    def _forget_single_changes(self) -> None:
        core = self._core
        if core.is_secondary_up:
            return  # it came back while the lock was waited for: what changes has to be known
        core.forget_single_changes()
        core.log.start(recovery.records_of(core), core.log.last_number, core.durable_ns)
        limit = count(self._pair.config.log_limit, "change")
        self.on_event("log_full", f"more than {limit} wait: everything will be compared instead")

    async def _watch_log(self) -> None:
        """Say that the state store refuses, and that it does not any more. Changes are refused meanwhile:
        what is not in the log would be lost to the secondary."""
        log, was_failing = self._core.log, False
        while True:
            await trio.sleep(_LOG_LOOK_SECONDS)
            reason = ""
            if log.is_failing:
                try:
                    log.try_again()
                except OSError as error:
                    reason = f"{error.strerror}: {error.filename}"
            if log.is_failing and not was_failing:
                message = f"the intent log cannot be written ({reason}); changes are refused until it can"
                self.on_event("log_failed", message)
            elif was_failing and not log.is_failing:
                self.on_event("log_works", "the intent log can be written again")
                self.wake()
            was_failing = log.is_failing

    # The secondary's health

    async def _check_now_and_then(self) -> None:
        while True:
            await trio.sleep(RETRY_SECONDS)
            try:
                await self.look_at_primary()
                await self._bound_log()
                if self._core.is_secondary_up and not self._core.is_secondary_asleep:
                    await self._pair.secondary.check(self._core)
            except OSError as error:
                self._failed(error)

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        """A cancellation does not end the watch before the work: what waits for a disk is shielded, and only
        the watch can give up a disk that hangs."""
        scope = trio.CancelScope(shield=True)

        async def watch() -> None:
            with scope:
                await self._hang_watch().run()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            try:
                yield
            finally:
                scope.cancel()

    def _hang_watch(self) -> HangWatch:
        return HangWatch(self._core, self._pair.config.leg_timeout_seconds, self._on_hang)

    def _on_hang(self) -> None:
        seconds = self._pair.config.leg_timeout_seconds
        self._core.secondary_failed(OSError(errno.ETIMEDOUT, f"it did not answer for {seconds:g} s"))

    async def watched(self, work: Callable[[], Awaitable[None]]) -> TwinfsError | None:
        """For work while `run` is not running: a secondary that hangs must not hold it up."""
        failure: TwinfsError | None = None
        async with self._watching():
            try:
                await work()
            except TwinfsError as error:
                failure = error
        return failure

    def _on_secondary_error(self, error: OSError) -> None:
        refusal = self._pair.secondary.parted(self._pair.primary)
        self.wake()
        message = f"the secondary failed: {error}; changes are kept in the intent log"
        self.on_event("secondary_failed", message)
        if refusal is not None and refusal.errno in PRIMARY_FAILURES:
            self.on_primary_refused(refusal)
