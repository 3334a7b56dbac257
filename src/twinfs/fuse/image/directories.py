"""Open directories of a mounted image: the reader lists the next names while the kernel takes these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import pyfuse3
import trio

from twinfs.errors import ImageError
from twinfs.images.worker.wire import Batch, PackedEntry, PackedStat

LIST_COUNT: Final = 256

Fetch: TypeAlias = Callable[[int], Awaitable[Batch]]
"""The entries from a position on, LIST_COUNT of them if there are so many."""
Begin: TypeAlias = Callable[[Callable[[], Awaitable[None]]], object]
"""Starts a task that goes on when the request that started it is answered."""


class _Ahead:
    """What will be asked for next, on its way."""

    def __init__(self, fetch: Fetch, position: int) -> None:
        self.position = position
        self._fetch = fetch
        self._done = trio.Event()
        self._found: Batch | None = None
        self._failure: Exception = ImageError("its reader is gone")

    async def run(self) -> None:
        try:
            self._found = await self._fetch(self.position)
        except Exception as failure:  # noqa: BLE001  raised where it is asked for, if it ever is
            self._failure = failure
        finally:
            self._done.set()

    async def result(self) -> Batch:
        await self._done.wait()
        if self._found is None:
            raise self._failure
        return self._found


class ImageDirectory:
    def __init__(
        self, fetch: Fetch, entry: Callable[[PackedStat], pyfuse3.EntryAttributes], begin: Begin
    ) -> None:
        """`entry` raises where what was fetched is no longer true."""
        self._fetch = fetch
        self._entry = entry
        self._begin = begin
        self._start = 0
        self._entries: list[PackedEntry] = []
        self._is_last = False
        """Whether nothing comes after `_entries`."""
        self._ahead: _Ahead | None = None

    async def fill(self, position: int, token: pyfuse3.ReaddirToken) -> None:
        """Fill the kernel's buffer from `position` on."""
        while True:
            following = await self._from(position)
            for name, packed in following:
                if not pyfuse3.readdir_reply(token, name, self._entry(packed), position + 1):
                    return
                position += 1
            if self._is_last:
                return

    async def _from(self, position: int) -> list[PackedEntry]:
        is_at_hand = self._start <= position < self._start + len(self._entries)
        if not is_at_hand and not (self._is_last and position >= self._start):
            await self._turn_to(position)
        return self._entries[position - self._start :]

    async def _turn_to(self, position: int) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is None or ahead.position != position:
            found = await self._fetch(position)
        else:
            found = await ahead.result()
        (self._entries, self._is_last), self._start = found, position
        if not self._is_last:
            self._ahead = _Ahead(self._fetch, position + len(self._entries))
            self._begin(self._ahead.run)
