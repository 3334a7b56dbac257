"""An image mounted with an overlay: the kernel's requests, answered from both. No policy here."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyfuse3
import trio

from twinfs.fuse.convert import NODE_BITS, PRIVILEGED_BIT, groups_of, space_of, wanted_of
from twinfs.fuse.forever import absent
from twinfs.fuse.image.answers import answered, entry_of
from twinfs.fuse.image.extents import reopened
from twinfs.fuse.image.reader import ImageReader
from twinfs.fuse.listing_cache import LISTING_MARK
from twinfs.fuse.overlay.base import Base
from twinfs.fuse.overlay.contents import OverlayContents
from twinfs.fuse.overlay.names import MAX_NAME_BYTES, OverlayNames, failed
from twinfs.fuse.overlay.nodes import Node
from twinfs.fuse.overlay.tree import OverlayTree
from twinfs.images.overlay import Store
from twinfs.images.worker.origin import Origin
from twinfs.images.worker.wire import PackedStat

_log: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class _Directory:
    node: Node
    listing: list[tuple[bytes, PackedStat]] | None = None
    """What the image has in it, once that was asked for."""


class OverlayOperations(pyfuse3.Operations):
    supports_dot_lookup = False
    enable_writeback_cache = True
    enable_acl = os.geteuid() == 0
    """They are enforced where permissions are, see image/session.py."""

    def __init__(
        self, origin: Origin, store: Store, *, image_fd: int, passphrase: bytes | None = None
    ) -> None:
        super().__init__()
        self.reader = ImageReader(origin, self._new_reader, passphrase)
        self._path = origin.path
        self._store = store
        self._image_fd = image_fd
        self._base = Base(self.reader)
        self._tree = OverlayTree(store, self._base)
        self._names = OverlayNames(self._tree)
        self._contents = OverlayContents(self._tree, image_fd)
        self._fingerprint = ""
        self._directories: dict[int, _Directory] = {}
        self._last_directory = 0

    async def begin(self) -> None:
        """Once the reader runs, before the kernel asks. Raises ImageError where the overlay is another's."""
        self._fingerprint = await self._base.fingerprint()
        has_lost_power = self._store.begin_use(self._path, self._fingerprint)
        if has_lost_power:
            _log.warning(
                "%s: the power failed while it was in use: what no fsync covered may be lost", self._path
            )
        self._tree.sweep(has_lost_power=has_lost_power)
        await self._find_links()
        self._base.trust()

    async def _new_reader(self) -> None:
        """The image is the same, or nothing of it may be told; numbers may have changed."""
        await trio.to_thread.run_sync(reopened, self._path, self._image_fd)
        if await self._base.fingerprint() != self._fingerprint:
            self._base.distrust()
            _log.error("%s was written to: its overlay fits no more, unmount it", self._path)
            return
        await self._find_links()
        self._base.trust()

    async def _find_links(self) -> None:
        changed = self._tree.objects.linked()
        numbers = {await self._base.new_number_of(found.base): found.id for found in changed if found.base}
        self._tree.nodes.links_are(numbers)

    def _node(self, inode: int) -> Node:
        try:
            return self._tree.nodes[inode]
        except KeyError:
            raise failed(errno.ESTALE) from None

    # Names

    @answered
    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        found = await self._tree.find(self._node(parent_inode), name)
        if found is None and len(name) > MAX_NAME_BYTES:
            raise failed(errno.ENAMETOOLONG)
        if found is None:
            return absent()
        return self._looked_up(*found)

    @staticmethod
    def _looked_up(node: Node, attributes: PackedStat) -> pyfuse3.EntryAttributes:
        node.lookups += 1
        return entry_of(attributes, node.ident)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for inode, lookups in inode_list:
            try:
                node = self._node(inode)
                node.lookups -= lookups
                self._tree.released(node)
            except OSError:
                _log.exception("what has no name any more stays until the next mount")

    async def _make(
        self,
        parent_inode: int,
        name: bytes,
        mode: int,
        ctx: pyfuse3.RequestContext,
        rdev: int = 0,
        target: bytes = b"",
    ) -> pyfuse3.EntryAttributes:
        node = await self._names.make(self._node(parent_inode), name, mode, ctx, rdev, target)
        return self._looked_up(node, self._tree.changed_stat(node))

    @answered
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        try:
            entry = await self._make(parent_inode, name, stat.S_IFREG | stat.S_IMODE(mode), ctx)
        except FileExistsError:
            found = await self._tree.find(self._node(parent_inode), name)
            if flags & os.O_EXCL or found is None:
                raise
            entry = self._looked_up(*found)
        node = self._node(entry.st_ino)
        try:
            return await self._opened(node, flags, ctx), entry
        except BaseException:
            node.lookups -= 1
            self._tree.released(node)
            raise

    @answered
    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        return await self._make(parent_inode, name, stat.S_IFDIR | stat.S_IMODE(mode), ctx)

    @answered
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        return await self._make(parent_inode, name, mode, ctx, rdev=rdev)

    @answered
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        return await self._make(parent_inode, name, stat.S_IFLNK | 0o777, ctx, target=target)

    @answered
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        node = self._node(inode)
        await self._names.link(node, self._node(new_parent_inode), new_name)
        return self._looked_up(node, self._tree.changed_stat(node))

    @answered
    async def unlink(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        self._tree.released(await self._names.remove(self._node(parent_inode), name, is_directory=False))

    @answered
    async def rmdir(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        self._tree.released(await self._names.remove(self._node(parent_inode), name, is_directory=True))

    @answered
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        old, new = (self._node(parent_inode_old), name_old), (self._node(parent_inode_new), name_new)
        replaced = await self._names.rename(old, new, flags)
        if replaced is not None:
            self._tree.released(replaced)

    @answered
    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        return await self._tree.target(self._node(inode))

    # Directories

    @answered
    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        node = self._node(inode)
        node.opens += 1
        self._last_directory += 1
        handle = self._last_directory | LISTING_MARK
        self._directories[handle] = _Directory(node)
        return handle

    @answered
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        directory = self._directories[fh]
        if directory.listing is None:
            directory.listing = await self._base.entries(directory.node)
        for name, node, attributes, after in self._tree.listed(directory.node, directory.listing, start_id):
            if not pyfuse3.readdir_reply(token, name, entry_of(attributes, node.ident), after):
                self._tree.released(node)  # made for this answer, unless it was known before
                return
            node.lookups += 1

    @answered
    async def releasedir(self, fh: int) -> None:
        node = self._directories.pop(fh).node
        node.opens -= 1
        self._tree.released(node)

    @answered
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        self._store.make_durable()

    # Contents

    async def _opened(self, node: Node, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        if flags & os.O_ACCMODE != os.O_RDONLY and await self._base.is_fixed(node):
            raise failed(errno.EROFS)
        is_privileged = ctx.uid == 0
        await self._contents.open(node, is_cut=bool(flags & os.O_TRUNC), is_privileged=is_privileged)
        handle = node.ident | (PRIVILEGED_BIT if is_privileged else 0)
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(handle), keep_cache=True)

    @answered
    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        return await self._opened(self._node(inode), flags, ctx)

    @answered
    async def read(self, fh: int, off: int, size: int) -> bytes:
        return await self._contents.read(self._node(fh & NODE_BITS), off, size)

    @answered
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        node = self._node(fh & NODE_BITS)
        if await self._contents.write(node, off, buf, is_privileged=bool(fh & PRIVILEGED_BIT)):
            pyfuse3.invalidate_inode(pyfuse3.InodeT(node.ident), attr_only=True)
        return len(buf)

    @answered
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._contents.sync(self._node(fh & NODE_BITS))

    async def flush(self, fh: int) -> None:
        """Nothing to do: that the kernel is answered tells close(2) that what it wrote back has arrived."""

    @answered
    async def release(self, fh: int) -> None:
        self._contents.release(self._node(fh & NODE_BITS))

    # Attributes

    @answered
    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        node = self._node(inode)
        return entry_of(await self._tree.stat(node), node.ident)

    @answered
    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        node = self._node(inode)
        await self._contents.change(node, wanted_of(attr, fields), is_privileged=ctx.uid == 0)
        return entry_of(self._tree.changed_stat(node), node.ident)

    @answered
    async def getxattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        found = (await self._tree.xattrs(self._node(inode))).get(name)
        if found is None:
            raise failed(errno.ENODATA)
        return found

    @answered
    async def listxattr(self, inode: int, ctx: pyfuse3.RequestContext) -> Sequence[bytes]:
        return list(await self._tree.xattrs(self._node(inode)))

    @answered
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: pyfuse3.RequestContext) -> None:
        node = self._node(inode)
        if await self._contents.set_xattr(node, name, value, groups_of(ctx)):
            pyfuse3.invalidate_inode(pyfuse3.InodeT(node.ident), attr_only=True)

    @answered
    async def removexattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._contents.remove_xattr(self._node(inode), name)

    @answered
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        """Of the disk that the overlay is on: that is what writing is limited by."""
        return space_of(os.fstatvfs(self._store.contents_fd))
