"""Behind the callers: what is older than the window, or more than may be kept, goes. And people are told when
something could not be kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from twinfs.mirror.core import Core
from twinfs.mirror.failures import is_leg_failure
from twinfs.mirror.pair import Pair
from twinfs.mirror.versions.ledger import Ledger, together
from twinfs.mirror.versions.window import Window
from twinfs.model import Held

TURN_SECONDS: Final = 15.0


class Expiry:
    """Runs from the mount to the unmount. `on_event` is told (kind, message)."""

    def __init__(self, core: Core, pair: Pair) -> None:
        self._core = core
        self._pair = pair
        self._ledgers: dict[str, Ledger] = {}
        self._held: dict[str, Held] = {}
        self._told = ""
        self.on_event: Callable[[str, str], None] = lambda kind, message: None

    @property
    def held(self) -> Held | None:
        """On both legs, as it was seen last; None where nothing is to be kept."""
        if self._core.window is None:
            return None
        return together(self._held.values())

    async def run(self) -> None:
        """Until cancelled."""
        if self._core.window is None:
            return
        while True:
            if not self._core.is_secondary_asleep:
                await self.turn()
            await trio.sleep(TURN_SECONDS)

    async def turn(self) -> None:
        """Look at both legs once. A disk that refuses is its watchers' trouble, not ours."""
        window = self._core.window
        if window is None:
            return
        primary = self._pair.primary
        work = partial(self._trim, primary.path, primary.fd, window, None)
        try:
            await trio.to_thread.run_sync(work)
        except OSError as error:
            self._tell(error.strerror or str(error))
        await self._turn_secondary(window)

    async def _turn_secondary(self, window: Window) -> None:
        core, secondary = self._core, self._pair.secondary
        keeper = core.applier.keeper
        if not core.is_secondary_up or keeper.shelf is None:
            return
        shelf = keeper.shelf
        try:
            work = partial(self._trim, secondary.path, shelf.root_fd, window, shelf.segment)
            is_to_end = await core.attachment.call(work)
        except OSError as error:
            if is_leg_failure(error):
                core.secondary_failed(error)
            else:
                self._tell(error.strerror or str(error))
            return
        if is_to_end:
            shelf.end_segment_soon()
        core.versions_bytes = self._held[secondary.path].bytes
        trouble, keeper.trouble = keeper.trouble, ""
        self._tell(trouble)

    def _trim(self, path: str, root_fd: int, window: Window, but: bytes | None) -> bool:
        ledger = self._ledgers.setdefault(path, Ledger())
        self._held[path], is_to_end = ledger.trim(root_fd, window, time.time_ns(), but=but)
        return is_to_end

    def _tell(self, trouble: str) -> None:
        """Once for each kind of trouble, until it is over."""
        if trouble and trouble != self._told:
            self.on_event(
                "versions_not_kept",
                f"what was deleted or replaced could not be kept on {self._pair.secondary.path}: {trouble}",
            )
        self._told = trouble
