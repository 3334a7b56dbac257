"""Directories of an image as they were listed: nothing changes there, and the kernel keeps no listings."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from twinfs.images.worker.wire import PackedStat

MOST_LISTED: Final = 20_000
"""Entries of a directory beyond which it is not kept."""
_MOST_KEPT: Final = 40_000
"""In all: some 17 MB."""


class Listings:
    def __init__(self) -> None:
        self._kept: OrderedDict[int, list[tuple[bytes, PackedStat]]] = OrderedDict()
        self._count = 0

    def get(self, inode: int) -> list[tuple[bytes, PackedStat]] | None:
        found = self._kept.get(inode)
        if found is not None:
            self._kept.move_to_end(inode)
        return found

    def put(self, inode: int, entries: list[tuple[bytes, PackedStat]]) -> None:
        if inode in self._kept or len(entries) > MOST_LISTED:
            return
        self._kept[inode] = entries
        self._count += len(entries)
        while self._count > _MOST_KEPT:
            _, dropped = self._kept.popitem(last=False)
            self._count -= len(dropped)

    def clear(self) -> None:
        self._kept.clear()
        self._count = 0
