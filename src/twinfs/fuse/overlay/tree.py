"""Image and changes as one tree: what stands where, and what it looks like. Changes nothing but rows for
objects that are about to be changed."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from typing import Final

import trio

from twinfs.fuse.overlay.base import Base
from twinfs.fuse.overlay.nodes import Node, Nodes
from twinfs.images.overlay import contents
from twinfs.images.overlay.entries import Entries
from twinfs.images.overlay.objects import Object, Objects
from twinfs.images.overlay.store import Store
from twinfs.images.worker.wire import PackedStat

FIRST_CHANGED: Final = 1 << 40
"""In a listing: positions below are places in the image's own, those above are numbers of names put."""
_CHANGED_COUNT: Final = 500


class OverlayTree:
    def __init__(self, store: Store, base: Base) -> None:
        self.store = store
        self.base = base
        self.objects = Objects(store)
        self.entries = Entries(store)
        self.nodes = Nodes(self.objects)
        self.changing = trio.Lock()
        """Held by whoever changes names or makes rows: between looking and acting nobody else does."""

    # Attributes

    async def stat(self, node: Node) -> PackedStat:
        """With the node's number for the inode."""
        if node.object is None:
            packed = await self.base.stat(node)
            if node.object is None:
                return (node.ident, *packed[1:])
        return self.changed_stat(node)

    def changed_stat(self, node: Node) -> PackedStat:
        assert node.object is not None
        found = self.objects.get(node.object)
        size, blocks = found.size, found.blocks
        if found.has_bytes:
            status = contents.status(self.store, found.id)
            size = status.st_size
            of_base = found.blocks if found.base_limit else 0
            blocks = min(of_base + status.st_blocks, -(-size // 4096) * 8)
        times = (found.atime, found.mtime, found.ctime)
        owner = (found.uid, found.gid, found.device)
        return (node.ident, found.mode, found.links, *owner, size, blocks, *times)

    def known_stat(self, node: Node, packed: PackedStat) -> PackedStat:
        """As `stat`, where what the image says of it is at hand."""
        return (node.ident, *packed[1:]) if node.object is None else self.changed_stat(node)

    async def touched(self, node: Node) -> Object:
        """The node's row; made, with all that the image says of it, if there is none. `changing` is held."""
        if node.object is not None:
            return self.objects.get(node.object)
        if await self.base.is_fixed(node):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        packed = await self.base.stat(node)
        xattrs = await self.base.xattrs(node)
        is_file = stat.S_ISREG(packed[1])
        target = await self.base.target(node) if stat.S_ISLNK(packed[1]) else b""
        _, mode, links, uid, gid, device, size, blocks, atime, mtime, ctime = packed
        is_linked = links > 1 and not stat.S_ISDIR(mode)
        wanted = Object(
            0, node.base, is_linked, mode, links, uid, gid, device, size, blocks, atime, mtime, ctime,
            target=target, base_limit=size if is_file else 0,
        )  # fmt: skip
        with self.store.transaction():
            made = self.objects.add(wanted, xattrs)
        self.nodes.changed(node, made)
        return made

    async def xattrs(self, node: Node) -> dict[bytes, bytes]:
        if node.object is None:
            found = await self.base.xattrs(node)
            if node.object is None:
                return found
        return self.objects.xattrs(node.object)

    async def target(self, node: Node) -> bytes:
        return await self.base.target(node) if node.object is None else self.objects.get(node.object).target

    # Names

    async def find(self, parent: Node, name: bytes) -> tuple[Node, PackedStat] | None:
        """What stands at a name, and its attributes now."""
        put = self._put(parent, name)
        if put is None:
            packed = await self.base.child(parent, name)
            put = self._put(parent, name)  # while the reader was asked
            if put is None:
                return None if packed is None else self.found_in_base(parent, name, packed)
        number = put[0]
        if number is None:
            return None
        node = self.nodes.of_object(number, parent.volume)
        return node, self.changed_stat(node)

    def _put(self, parent: Node, name: bytes) -> tuple[int | None] | None:
        """What the changes say of a name: (an object's number, or None where it was taken); None: nothing."""
        entry = None if parent.object is None else self.entries.find(parent.object, name)
        return None if entry is None else (entry.object,)

    def found_in_base(self, parent: Node, name: bytes, packed: PackedStat) -> tuple[Node, PackedStat]:
        assert parent.base is not None
        node = self.nodes.of_base(parent.base + b"/" + name, packed, self.base.epoch)
        return node, self.known_stat(node, packed)

    def listed(
        self, parent: Node, listing: list[tuple[bytes, PackedStat]], position: int
    ) -> Iterator[tuple[bytes, Node, PackedStat, int]]:
        """The entries from `position` on: (name, node, attributes, the position after it).

        As they are at each step: an answer to the kernel is what it believes from then on.
        """
        for place in range(position, len(listing)):
            name, packed = listing[place]
            if self._put(parent, name) is None:
                node, attributes = self.found_in_base(parent, name, packed)
                yield name, node, attributes, place + 1
        last = max(0, position - FIRST_CHANGED)
        while parent.object is not None and (put := self.entries.after(parent.object, last, _CHANGED_COUNT)):
            for entry in put:
                assert entry.object is not None
                node = self.nodes.of_object(entry.object, parent.volume)
                yield entry.name, node, self.changed_stat(node), FIRST_CHANGED + entry.id
            last = put[-1].id

    async def is_empty(self, node: Node) -> bool:
        """Whether a directory has no names."""
        if node.object is not None and self.entries.after(node.object, 0, 1):
            return False
        return all(self._put(node, name) is not None for name, _ in await self.base.entries(node))

    # The end of objects

    def released(self, node: Node) -> None:
        """Nobody has it open, or the kernel forgot it; if both, and it has no name left, it is no more."""
        if node.opens or node.lookups > 0 or node is self.nodes.root:
            return
        if node.object is not None and self.objects.get(node.object).links <= 0:
            with self.store.transaction():
                self.objects.remove(node.object)
            contents.remove(self.store, node.object)
        self.nodes.forget(node)

    def sweep(self, *, has_lost_power: bool) -> None:
        """At the start: what was open without a name, and what was begun, when the last use ended."""
        for number in self.objects.without_names():
            with self.store.transaction():
                self.objects.remove(number)
        known = {found.id for found in self.objects.all() if found.has_bytes}
        contents.sweep(self.store, known.__contains__)
        for number in known if has_lost_power else ():
            contents.mend(self.store, self.objects.get(number))


def now() -> int:
    return time.time_ns()
