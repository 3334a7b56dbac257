"""The image beneath a mounted overlay, asked through its reader. Nothing here changes."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import trio

from twinfs.errors import ImageError
from twinfs.fuse.image.listings import MOST_LISTED, Listings
from twinfs.fuse.image.reader import ImageReader
from twinfs.fuse.overlay.nodes import Node
from twinfs.images.worker.wire import ROOT, PackedStat

_TRIES: Final = 3
_SETTLE_SECONDS: Final = 20.0
_LIST_COUNT: Final = 500
_ASKED_ENOUGH: Final = 8
_MOST_NAMES: Final = 32
"""Directories known by heart."""
_OWN_SHIFT: Final = 48
"""Numbers below are those of no file system: the top directory, and raw disks and partitions in it."""


_P = ParamSpec("_P")
_T = TypeVar("_T")
_Method = Callable[Concatenate["Base", _P], Coroutine[Any, Any, _T]]


class _ReplacedError(Exception):
    """Another reader answered than the one whose numbers were given."""


def again(method: _Method[_P, _T]) -> _Method[_P, _T]:
    """Once more, with numbers asked for anew, when the reader was replaced meanwhile."""

    async def ask(self: Base, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        for _ in range(_TRIES):
            try:
                return await method(self, *args, **kwargs)
            except _ReplacedError:
                await self.settled()
        raise ImageError("the reader of the image is replaced again and again")

    functools.update_wrapper(ask, method)
    return ask


class Base:
    """`epoch` is that of the last reader of which is known that it reads the same image."""

    def __init__(self, reader: ImageReader) -> None:
        self._reader = reader
        self._listings = Listings()
        self._names: dict[int, dict[bytes, PackedStat]] = {}
        self._asked: Counter[int] = Counter()
        self.epoch = 0
        self._decided = trio.Event()
        self.is_another = False
        """The image was rewritten beneath the overlay: nothing of it can be told any more."""

    def trust(self) -> None:
        """The reader that answers now reads the image that the overlay belongs to."""
        self.epoch = self._reader.epoch
        self._decide()
        self._listings.clear()
        self._names.clear()
        self._asked.clear()

    def distrust(self) -> None:
        """It reads another, or what somebody made of it: no answer but errors from now on."""
        self.is_another = True
        self._decide()

    def _decide(self) -> None:
        self._decided.set()
        self._decided = trio.Event()

    async def settled(self) -> None:
        """Until it is known what a new reader reads."""
        if self._reader.epoch != self.epoch and not self.is_another:
            with trio.move_on_after(_SETTLE_SECONDS):
                await self._decided.wait()

    async def _ask(self, method: str, *arguments: Any) -> Any:  # noqa: ANN401  what the method returns
        self.check()
        epoch, was_ready = self.epoch, self._reader.is_ready
        try:
            found = await self._reader.call(method, *arguments)
        except ImageError:
            # It died of this question or meanwhile; or it is another, which does not know the number.
            is_lost = was_ready and not self._reader.is_ready
            if is_lost or (self._reader.is_ready and self._reader.epoch != epoch):
                raise _ReplacedError from None
            raise
        self.check()
        if self._reader.epoch != epoch:
            raise _ReplacedError
        return found

    def check(self) -> None:
        if self.is_another:
            raise ImageError("the image was written to while an overlay of it was mounted")

    async def fingerprint(self) -> str:
        """Of what the reader that answers now reads, trusted or not."""
        return str(await self._reader.call("fingerprint"))

    async def new_number_of(self, path: bytes) -> int:
        """As the reader that answers now counts, trusted or not."""
        return await self._resolve(path, self._reader.call)

    @staticmethod
    async def _resolve(path: bytes, ask: Callable[..., Awaitable[Any]]) -> int:
        number = ROOT
        for name in path.split(b"/")[1:]:
            found = await ask("lookup_exact", number, name)
            if found is None:
                raise ImageError(f"{path.decode(errors='backslashreplace')}: no longer in the image")
            number = int(found[0])
        return number

    @again
    async def number(self, node: Node) -> int:
        """As the reader that answers now counts: another one may have counted anew."""
        if node.epoch != self.epoch:
            assert node.base is not None
            epoch = self.epoch
            node.number = await self._resolve(node.base, self._ask)
            node.epoch = epoch
        return node.number

    async def is_fixed(self, node: Node) -> bool:
        """Whether it is not of a file system, but of how the image is shown."""
        return node.base is not None and await self.number(node) >> _OWN_SHIFT == 0

    @again
    async def stat(self, node: Node) -> PackedStat:
        return tuple(await self._ask("stat", await self.number(node)))

    @again
    async def child(self, node: Node, name: bytes) -> PackedStat | None:
        """What the image has under a name, by exactly that name."""
        if node.base is None:
            return None
        number = await self.number(node)
        if number in self._names:
            return self._names[number].get(name)
        self._asked[number] += 1
        if self._asked[number] == _ASKED_ENOUGH:
            await self._keep_names(node)
        found = await self._ask("lookup_exact", number, name)
        return None if found is None else tuple(found)

    async def _keep_names(self, node: Node) -> None:
        """A directory that is asked for so often is known by heart from now on, unless it is too large."""
        found = await self.entries(node)
        if len(found) <= MOST_LISTED:
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            self._names[await self.number(node)] = dict(found)

    @again
    async def entries(self, node: Node) -> list[tuple[bytes, PackedStat]]:
        if node.base is None:
            return []
        number = await self.number(node)
        known = self._listings.get(number)
        if known is not None:
            return known
        found: list[tuple[bytes, PackedStat]] = []
        while True:
            batch, is_last = await self._ask("list", number, len(found), _LIST_COUNT)
            found += batch
            if is_last:
                break
        self._listings.put(number, found)
        return found

    @again
    async def read(self, node: Node, offset: int, length: int) -> bytes:
        """All of it, or ImageError."""
        number = await self.number(node)
        data = bytearray()
        while len(data) < length:
            piece = await self._ask("read", number, offset + len(data), length - len(data))
            if not piece:
                raise ImageError(f"a file ends at byte {offset + len(data)}, before its size says")
            data += piece
        return bytes(data)

    @again
    async def xattrs(self, node: Node) -> dict[bytes, bytes]:
        return dict(await self._ask("xattrs", await self.number(node)))

    @again
    async def target(self, node: Node) -> bytes:
        return bytes(await self._ask("readlink", await self.number(node)))

    @again
    async def extents(self, node: Node) -> list[tuple[int, int, int]] | None:
        found: list[tuple[int, int, int]] | None = await self._ask("extents", await self.number(node))
        return found
