"""Where calls come in. It is closed for the moment in which the legs change their roles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

_PATIENCE_SECONDS: Final = 5.0


class Gate:
    """Counts the calls inside. Used by hand, not as a context: it is passed for every request."""

    def __init__(self) -> None:
        self.inside = 0
        self._opened: trio.Event | None = None

    @property
    def is_closed(self) -> bool:
        return self._opened is not None

    async def wait(self) -> None:
        """Until it is open."""
        while self._opened is not None:
            await self._opened.wait()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[bool]:
        """Nobody comes in. True when all have gone out; who waits for a disk that does not answer does
        not, and is left alone after a while."""
        self._opened = trio.Event()
        try:
            with trio.move_on_after(_PATIENCE_SECONDS):
                while self.inside:  # noqa: ASYNC110 - rare, and milliseconds
                    await trio.sleep(0.002)
            yield not self.inside
        finally:
            opened, self._opened = self._opened, None
            opened.set()
