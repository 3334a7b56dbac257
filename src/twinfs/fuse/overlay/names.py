"""Changes of names in a mounted overlay. Each is one transaction: it has happened, or it has not."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import Final

import pyfuse3

from twinfs.fuse.overlay.nodes import Node
from twinfs.fuse.overlay.tree import OverlayTree, now
from twinfs.images.overlay import acl, contents
from twinfs.images.overlay.objects import Object

RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2
MAX_NAME_BYTES: Final = 255


def failed(code: int) -> OSError:
    return OSError(code, os.strerror(code))


@dataclass(frozen=True, slots=True)
class _Place:
    """A name in a directory, and what stands there."""

    parent: Node
    parent_row: Object
    name: bytes
    node: Node | None
    is_in_base: bool


class OverlayNames:
    def __init__(self, tree: OverlayTree) -> None:
        self._tree = tree
        self._objects, self._entries = tree.objects, tree.entries

    async def _place(self, parent: Node, name: bytes) -> _Place:
        """`changing` is held. Makes the directory's row: its entries, or its times, are about to change."""
        if len(name) > MAX_NAME_BYTES:
            raise failed(errno.ENAMETOOLONG)
        row = await self._tree.touched(parent)
        if row.links <= 0:
            raise failed(errno.ENOENT)
        is_in_base = await self._tree.base.child(parent, name) is not None
        found = await self._tree.find(parent, name)
        return _Place(parent, row, name, found[0] if found else None, is_in_base)

    def _put(self, place: _Place, number: int) -> None:
        self._entries.put(place.parent_row.id, place.name, number, is_in_base=place.is_in_base)

    def _take(self, place: _Place) -> None:
        self._entries.take(place.parent_row.id, place.name, is_in_base=place.is_in_base)

    def _directory_changed(self, place: _Place, subdirectories: int) -> None:
        links = self._objects.get(place.parent_row.id).links + subdirectories
        self._objects.change(place.parent_row.id, mtime=now(), ctime=now(), links=max(1, links))

    async def make(
        self, parent: Node, name: bytes, mode: int, ctx: pyfuse3.RequestContext, device: int, target: bytes
    ) -> Node:
        """`mode` with the type."""
        async with self._tree.changing:
            place = await self._place(parent, name)
            if place.node is not None:
                raise failed(errno.EEXIST)
            row = place.parent_row
            inherits = bool(row.mode & stat.S_ISGID)
            is_directory = stat.S_ISDIR(mode)
            if inherits and is_directory:
                mode |= stat.S_ISGID
            mode, xattrs = self._permissions(row, mode, ctx.umask)
            wanted = Object(
                0, None, False, mode, 2 if is_directory else 1, ctx.uid, row.gid if inherits else ctx.gid,
                device, len(target), 0, *(now(),) * 3, target=target, has_bytes=stat.S_ISREG(mode),
            )  # fmt: skip
            with self._tree.store.transaction():
                made = self._objects.add(wanted, xattrs)
                if made.has_bytes:
                    contents.create(self._tree.store, made.id, 0)
                self._put(place, made.id)
                self._directory_changed(place, int(is_directory))
            return self._tree.nodes.of_object(made.id, parent.volume)

    def _permissions(self, parent: Object, mode: int, umask: int) -> tuple[int, dict[bytes, bytes]]:
        """The umask does not count where the directory has a default ACL, see acl(5)."""
        if stat.S_ISLNK(mode):
            return mode, {}
        default = self._objects.xattrs(parent.id).get(acl.DEFAULT)
        if default is None:
            return mode & ~umask, {}
        access, mode = acl.inherited(default, mode)
        found = {acl.ACCESS: access} if access else {}
        return mode, {**found, acl.DEFAULT: default} if stat.S_ISDIR(mode) else found

    async def link(self, node: Node, parent: Node, name: bytes) -> None:
        async with self._tree.changing:
            if node.volume != parent.volume:
                raise failed(errno.EXDEV)
            place = await self._place(parent, name)
            if place.node is not None:
                raise failed(errno.EEXIST)
            row = await self._tree.touched(node)
            if row.links <= 0:
                raise failed(errno.ENOENT)
            with self._tree.store.transaction():
                self._put(place, row.id)
                self._objects.change(row.id, links=row.links + 1, ctime=now())
                self._directory_changed(place, 0)

    async def remove(self, parent: Node, name: bytes, *, is_directory: bool) -> Node:
        """What it was: the kernel may be the last to know it."""
        async with self._tree.changing:
            place = await self._place(parent, name)
            if place.node is None:
                raise failed(errno.ENOENT)
            row = await self._victim(place.node, is_directory=is_directory)
            with self._tree.store.transaction():
                self._take(place)
                self._lose_name(row)
                self._directory_changed(place, -int(is_directory))
            return place.node

    async def _victim(self, node: Node, *, is_directory: bool) -> Object:
        row = await self._tree.touched(node)
        if stat.S_ISDIR(row.mode) != is_directory:
            raise failed(errno.ENOTDIR if is_directory else errno.EISDIR)
        if is_directory and not await self._tree.is_empty(node):
            raise failed(errno.ENOTEMPTY)
        return row

    def _lose_name(self, row: Object) -> None:
        links = 0 if stat.S_ISDIR(row.mode) else row.links - 1
        self._objects.change(row.id, links=links, ctime=now())

    async def rename(self, old: tuple[Node, bytes], new: tuple[Node, bytes], flags: int) -> Node | None:
        """What was replaced."""
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE):
            raise failed(errno.EINVAL)
        if old[0].volume != new[0].volume:
            raise failed(errno.EXDEV)
        async with self._tree.changing:
            source, place = await self._place(*old), await self._place(*new)
            if source.node is None or (flags & RENAME_EXCHANGE and place.node is None):
                raise failed(errno.ENOENT)
            if place.node is not None and flags & RENAME_NOREPLACE:
                raise failed(errno.EEXIST)
            if source.node is place.node:
                return None  # two names of one file, see rename(2)
            moved = await self._tree.touched(source.node)
            if flags & RENAME_EXCHANGE:
                assert place.node is not None
                self._exchange(source, moved, place, await self._tree.touched(place.node))
                return None
            is_directory = stat.S_ISDIR(moved.mode)
            victim = None
            if place.node is not None:
                victim = await self._victim(place.node, is_directory=is_directory)
            self._move(source, moved, place, victim)
            return place.node

    def _move(self, source: _Place, moved: Object, place: _Place, victim: Object | None) -> None:
        is_directory = int(stat.S_ISDIR(moved.mode))
        with self._tree.store.transaction():
            self._take(source)
            self._put(place, moved.id)
            self._objects.change(moved.id, ctime=now())
            self._directory_changed(source, -is_directory)
            self._directory_changed(place, 0 if victim is not None else is_directory)
            if victim is not None:
                self._lose_name(victim)

    def _exchange(self, first: _Place, one: Object, second: _Place, other: Object) -> None:
        with self._tree.store.transaction():
            self._put(first, other.id)
            self._put(second, one.id)
            shift = int(stat.S_ISDIR(other.mode)) - int(stat.S_ISDIR(one.mode))
            self._directory_changed(first, shift)
            self._directory_changed(second, -shift)
            for row in (one, other):
                self._objects.change(row.id, ctime=now())
