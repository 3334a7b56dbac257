"""What the kernel knows of a mounted overlay: its numbers, and what each stands for.

An object of the image keeps its number for good, also when it is changed or renamed: the number comes from
its path in the image. Several names of one file there are one node. New objects are numbered by their row.
"""

from __future__ import annotations

import hashlib
import stat
from typing import Final

import pyfuse3
import trio

from twinfs.images.overlay.contents import Bytes
from twinfs.images.overlay.objects import Object, Objects
from twinfs.images.worker.wire import PackedStat

_NEW_BIT: Final = 1 << 62
_NUMBER_BITS: Final = _NEW_BIT - 1
_FIRST: Final = 16


class Node:
    """`base` is its path in the image, None for what is new; `number` the reader's, good for one `epoch`."""

    __slots__ = ("base", "bytes", "epoch", "ident", "lock", "lookups", "number", "object", "opens", "volume")

    def __init__(self, ident: int, base: bytes | None, volume: bytes) -> None:
        self.ident = ident
        self.base = base
        self.volume = volume
        """Name of the top directory it is in: nothing is linked or renamed between these."""
        self.number = 0
        self.epoch = -1
        self.object: int | None = None
        """Its row, once anything of it was changed."""
        self.lookups = 0
        self.opens = 0
        self.bytes: Bytes | None = None
        self.lock = trio.Lock()
        """Held while its bytes are changed."""


class Nodes:
    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known: dict[int, Node] = {}
        self._of_objects: dict[int, Node] = {}
        self._of_links: dict[int, Node] = {}
        self._changed_links: dict[int, int] = {}
        self.root = Node(pyfuse3.ROOT_INODE, b"", b"")
        self._known[self.root.ident] = self.root

    def __getitem__(self, ident: int) -> Node:
        return self._known[ident]

    def links_are(self, changed: dict[int, int]) -> None:
        """With a new reader: which of its numbers, of files with several names, stand for which objects."""
        self._changed_links = changed
        self._of_links.clear()

    def of_base(self, path: bytes, packed: PackedStat, epoch: int) -> Node:
        """What the image has at `path`."""
        is_linked = packed[2] > 1 and not stat.S_ISDIR(packed[1])
        number = packed[0]
        known = self._of_links.get(number) if is_linked else None
        if known is None:
            changed = self._changed_links.get(number) if is_linked else None
            found = self._objects.of_base(path) if changed is None else self._objects.get(changed)
            known = self._made(path, found)
            if is_linked:
                self._of_links[number] = known
        known.number, known.epoch = number, epoch
        return known

    def of_object(self, number: int, volume: bytes) -> Node:
        """What a row stands for."""
        known = self._of_objects.get(number)
        return known if known is not None else self._made(None, self._objects.get(number), volume)

    def _made(self, path: bytes | None, found: Object | None, volume: bytes = b"") -> Node:
        if found is not None:
            path = found.base
            if found.id in self._of_objects:
                return self._of_objects[found.id]
        if path is None:
            assert found is not None
            node = self._known.get(_NEW_BIT | found.id) or Node(_NEW_BIT | found.id, None, volume)
        else:
            node = self._at(path)
        self._known[node.ident] = node
        if found is not None:
            self.changed(node, found)
        return node

    def _at(self, path: bytes) -> Node:
        ident = int.from_bytes(hashlib.blake2b(path, digest_size=8).digest(), "big") & _NUMBER_BITS
        ident = max(ident, _FIRST)
        while (known := self._known.get(ident)) is not None:
            if known.base == path:
                return known
            ident += 1
        return Node(ident, path, path[1:].partition(b"/")[0])

    def changed(self, node: Node, found: Object) -> None:
        """It has a row from now on."""
        node.object = found.id
        self._of_objects[found.id] = node
        if found.is_linked and node.epoch >= 0:
            self._changed_links[node.number] = found.id

    def forget(self, node: Node) -> None:
        """The kernel does not know it any more, and nobody has it open."""
        del self._known[node.ident]
        if node.object is not None:
            self._of_objects.pop(node.object, None)
        if self._of_links.get(node.number) is node:
            del self._of_links[node.number]
