"""The image beneath a mounted overlay, asked through its reader. Nothing here changes."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from twinfs.errors import ImageError
from twinfs.fuse.image_listings import MOST_LISTED, Listings
from twinfs.fuse.image_reader import ImageReader
from twinfs.fuse.overlay_nodes import Node
from twinfs.images.worker.wire import ROOT, PackedStat

_LIST_COUNT: Final = 500
_ASKED_ENOUGH: Final = 8
_MOST_NAMES: Final = 32
"""Directories known by heart."""
_OWN_SHIFT: Final = 48
"""Numbers below are those of no file system: the top directory, and raw disks and partitions in it."""


class Base:
    def __init__(self, reader: ImageReader) -> None:
        self._reader = reader
        self._listings = Listings()
        self._names: dict[int, dict[bytes, PackedStat]] = {}
        self._asked: Counter[int] = Counter()
        self.is_another = False
        """The image was rewritten beneath the overlay: nothing of it can be told any more."""

    @property
    def epoch(self) -> int:
        return self._reader.epoch

    def forget(self) -> None:
        self._listings.clear()
        self._names.clear()
        self._asked.clear()

    async def _ask(self, method: str, *arguments: Any) -> Any:  # noqa: ANN401  what the method returns
        if self.is_another:
            raise ImageError("the image was written to while an overlay of it was mounted")
        return await self._reader.call(method, *arguments)

    async def number(self, node: Node) -> int:
        """Of the reader that answers now: another one may have counted anew."""
        if node.epoch != self.epoch:
            assert node.base is not None
            node.number = await self.number_of(node.base)
            node.epoch = self.epoch
        return node.number

    async def number_of(self, path: bytes) -> int:
        number = ROOT
        for name in path.split(b"/")[1:]:
            found = await self._ask("lookup_exact", number, name)
            if found is None:
                raise ImageError(f"{path.decode(errors='backslashreplace')}: no longer in the image")
            number = int(found[0])
        return number

    async def is_fixed(self, node: Node) -> bool:
        """Whether it is not of a file system, but of how the image is shown."""
        return node.base is not None and await self.number(node) >> _OWN_SHIFT == 0

    async def stat(self, node: Node) -> PackedStat:
        return tuple(await self._ask("stat", await self.number(node)))

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

    async def xattrs(self, node: Node) -> dict[bytes, bytes]:
        return dict(await self._ask("xattrs", await self.number(node)))

    async def target(self, node: Node) -> bytes:
        return bytes(await self._ask("readlink", await self.number(node)))

    async def extents(self, node: Node) -> list[tuple[int, int, int]] | None:
        found: list[tuple[int, int, int]] | None = await self._ask("extents", await self.number(node))
        return found

    async def fingerprint(self) -> str:
        return str(await self._ask("fingerprint"))
