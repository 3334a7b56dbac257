"""Bytes and attributes of files in a mounted overlay: the image's, or those that were written since."""

from __future__ import annotations

import errno
import stat
from typing import Final

import trio

from twinfs.fuse.image.extents import ExtentMap
from twinfs.fuse.overlay.names import failed
from twinfs.fuse.overlay.nodes import Node
from twinfs.fuse.overlay.tree import OverlayTree, now
from twinfs.images.overlay import acl, contents
from twinfs.images.overlay.contents import Bytes
from twinfs.mirror.attributes import Wanted

_MAPPED_BYTES: Final = 256 << 10
_SET_ID: Final = stat.S_ISUID | stat.S_ISGID


class OverlayContents:
    def __init__(self, tree: OverlayTree, image_fd: int) -> None:
        """`image_fd`: the image file, from which what needs no decoding is read without the reader."""
        self._tree = tree
        self._image_fd = image_fd
        self._maps: dict[int, tuple[int, ExtentMap | None]] = {}

    def _bytes(self, node: Node) -> Bytes | None:
        """Its own bytes, kept open as long as somebody has it open; None: all are the image's."""
        if node.bytes is None and node.object is not None:
            row = self._tree.objects.get(node.object)
            if row.has_bytes:
                node.bytes = Bytes(self._tree.store, row)
        return node.bytes

    async def _own_bytes(self, node: Node) -> Bytes:
        """As `_bytes`, made if there are none: a file of holes, for which the image's bytes still count."""
        found = self._bytes(node)
        if found is not None:
            return found
        async with self._tree.changing:
            row = await self._tree.touched(node)
            if not stat.S_ISREG(row.mode):
                raise failed(errno.EINVAL)
            contents.create(self._tree.store, row.id, row.size)
            self._tree.objects.change(row.id, has_bytes=1)
        node.bytes = Bytes(self._tree.store, row)
        return node.bytes

    # Open files

    async def open(self, node: Node, *, is_cut: bool, is_privileged: bool) -> None:
        node.opens += 1
        if is_cut:
            try:
                await self.cut(node, 0, is_privileged=is_privileged)
            except BaseException:
                self.release(node)
                raise

    def release(self, node: Node) -> None:
        node.opens -= 1
        if not node.opens:
            self._maps.pop(node.ident, None)
            self._close(node)
            self._tree.released(node)

    def _close(self, node: Node) -> None:
        if node.bytes is not None and not node.opens:
            node.bytes.close()
            node.bytes = None

    async def read(self, node: Node, offset: int, length: int) -> bytes:
        own = self._bytes(node)
        if own is None:
            size = (await self._tree.stat(node))[6]
            return await self._read_base(node, offset, max(0, min(length, size - offset)))
        end = min(offset + length, own.size_bytes)
        pieces = []
        for start, stop, is_here in list(own.runs(offset, end)):
            if is_here:
                pieces.append(own.read(start, stop - start))
            else:
                pieces.append(await self._read_base(node, start, stop - start))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _read_base(self, node: Node, offset: int, length: int) -> bytes:
        if length <= 0:
            return b""
        found = await self._map(node)
        if found is not None:
            return await found.read(offset, length)
        return await self._tree.base.read(node, offset, length)

    async def _map(self, node: Node) -> ExtentMap | None:
        """Where the image's bytes of an open file lie, if they are plain; asked once for each reader."""
        self._tree.base.check()
        known = self._maps.get(node.ident)
        if known is not None and known[0] == self._tree.base.epoch:
            return known[1]
        size = (await self._tree.base.stat(node))[6]
        listed = await self._tree.base.extents(node) if size >= _MAPPED_BYTES else None
        made = None if listed is None else ExtentMap(self._image_fd, size, listed)
        if node.opens:
            self._maps[node.ident] = (self._tree.base.epoch, made)
        return made

    async def write(self, node: Node, offset: int, data: bytes, *, is_privileged: bool) -> bool:
        """Whether the mode changed: who writes to a file takes its set-id bits away, unless privileged."""
        async with node.lock:
            own = await self._own_bytes(node)
            for start, length in own.incomplete(offset, offset + len(data)):
                # Through the reader, which looks each time whether the image is still the same.
                own.fill(start, await self._tree.base.read(node, start, length))
            own.write(offset, data)
            return not is_privileged and self._without_set_id(node)

    async def cut(self, node: Node, size_bytes: int, *, is_privileged: bool) -> None:
        async with node.lock:
            own = await self._own_bytes(node)
            own.cut(size_bytes)
            assert node.object is not None
            self._tree.objects.change(node.object, mtime=now(), ctime=now())
            if not is_privileged:
                self._without_set_id(node)
            self._close(node)

    async def sync(self, node: Node) -> None:
        """On the disk: its bytes, and all changes of names and attributes so far."""
        async with node.lock:
            own = self._bytes(node)
            if own is not None:
                await trio.to_thread.run_sync(own.sync)
                own.synced()
                self._close(node)
        self._tree.store.make_durable()

    # Attributes

    def _without_set_id(self, node: Node) -> bool:
        assert node.object is not None
        mode = self._tree.objects.get(node.object).mode
        if not stat.S_ISREG(mode) or not mode & _SET_ID:
            return False
        self._tree.objects.change(node.object, mode=mode & ~_SET_ID)
        return True

    async def change(self, node: Node, wanted: Wanted, *, is_privileged: bool) -> None:
        """chmod, chown, truncate, utimensat: any of them at once."""
        if wanted.size is not None:
            await self.cut(node, wanted.size, is_privileged=is_privileged)
        async with self._tree.changing:
            row = await self._tree.touched(node)
            mode = row.mode
            if (wanted.uid is not None or wanted.gid is not None) and not stat.S_ISDIR(mode):
                mode &= ~(stat.S_ISUID | (stat.S_ISGID if mode & stat.S_IXGRP else 0))
            if wanted.mode is not None:
                mode = stat.S_IFMT(mode) | stat.S_IMODE(wanted.mode)
            with self._tree.store.transaction():
                self._tree.objects.change(
                    row.id,
                    mode=mode,
                    uid=row.uid if wanted.uid is None else wanted.uid,
                    gid=row.gid if wanted.gid is None else wanted.gid,
                    atime=row.atime if wanted.atime_ns is None else wanted.atime_ns,
                    mtime=self._mtime(row.id) if wanted.mtime_ns is None else wanted.mtime_ns,
                    ctime=now(),
                )
                if wanted.mode is not None:
                    self._limit_acl(row.id, mode)

    def _mtime(self, number: int) -> int:
        return self._tree.objects.get(number).mtime

    def _limit_acl(self, number: int, mode: int) -> None:
        present = self._tree.objects.xattrs(number).get(acl.ACCESS)
        if present is not None:
            self._tree.objects.set_xattr(number, acl.ACCESS, acl.after_chmod(present, mode))

    async def set_xattr(self, node: Node, name: bytes, value: bytes, groups: frozenset[int] | None) -> bool:
        """Whether the mode changed with it. `groups` are the caller's, None for a privileged one."""
        _check_name(name)
        async with self._tree.changing:
            row = await self._tree.touched(node)
            with self._tree.store.transaction():
                self._tree.objects.change(row.id, ctime=now())
                if name != acl.ACCESS:
                    self._tree.objects.set_xattr(row.id, name, value)
                    return False
                mode = acl.mode_with(value, row.mode)
                if groups is not None and row.gid not in groups:
                    mode &= ~stat.S_ISGID  # as chmod(2) does for a file of a group that one is not in
                self._tree.objects.change(row.id, mode=mode)
                if acl.is_minimal(value):
                    self._tree.objects.remove_xattr(row.id, name)
                else:
                    self._tree.objects.set_xattr(row.id, name, value)
                return True

    async def remove_xattr(self, node: Node, name: bytes) -> None:
        async with self._tree.changing:
            row = await self._tree.touched(node)
            if name not in self._tree.objects.xattrs(row.id):
                raise failed(errno.ENODATA)
            with self._tree.store.transaction():
                self._tree.objects.remove_xattr(row.id, name)
                self._tree.objects.change(row.id, ctime=now())


def _check_name(name: bytes) -> None:
    """Attributes that a file system keeps, see xattr(7); everything else it refuses."""
    prefix, _, rest = name.partition(b".")
    if prefix in (b"user", b"trusted", b"security"):
        if not rest:
            raise failed(errno.EINVAL)
    elif name not in (acl.ACCESS, acl.DEFAULT):
        raise failed(errno.EOPNOTSUPP)
