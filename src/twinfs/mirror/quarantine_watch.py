"""Behind the callers: what is in the quarantines, so that `status` can say it without a look."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from twinfs.mirror.core import Core
from twinfs.mirror.failures import is_leg_failure
from twinfs.mirror.pair import Pair
from twinfs.mirror.quarantined import Stock, together
from twinfs.model import PutAside, Role

TURN_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.05


class QuarantineWatch:
    """Runs from the mount to the unmount."""

    def __init__(self, core: Core, pair: Pair) -> None:
        self._core = core
        self._pair = pair
        self._stocks: dict[str, Stock] = {}
        self._held: dict[str, PutAside] = {}

    @property
    def held(self) -> PutAside:
        """On both legs, as it was seen last."""
        paths = (self._pair.primary.path, self._pair.secondary.path)
        return together(self._held[path] for path in paths if path in self._held)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if not self._core.is_secondary_asleep:
                await self.turn()
            await trio.sleep(TURN_SECONDS)

    async def turn(self) -> None:
        """Look at both legs once. A disk that refuses is its watchers' trouble, not ours."""
        primary = self._pair.primary
        look = partial(self._look, primary.path, primary.fd, Role.PRIMARY, trio.from_thread.check_cancelled)
        with contextlib.suppress(OSError):  # what was seen last stands
            await trio.to_thread.run_sync(look)
        await self._turn_secondary()

    async def _turn_secondary(self) -> None:
        core, secondary = self._core, self._pair.secondary
        if not core.is_secondary_up:
            return
        is_over = threading.Event()
        look = partial(self._look, secondary.path, secondary.fd, Role.SECONDARY, partial(_go_on, is_over))
        job = core.attachment.start(look)
        try:
            while not job.is_done:  # noqa: ASYNC110 - `wait` could not be cancelled
                await trio.sleep(_LOOK_SECONDS)
            await job.wait()
        except OSError as error:
            if is_leg_failure(error):
                core.secondary_failed(error)
        finally:
            is_over.set()

    def _look(self, path: str, root_fd: int, leg: Role, check: Callable[[], None]) -> None:
        stock = self._stocks.setdefault(path, Stock())
        self._held[path] = stock.held(root_fd, leg, check, is_measuring=True)


def _go_on(is_over: threading.Event) -> None:
    if is_over.is_set():
        raise InterruptedError
