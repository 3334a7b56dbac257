"""Which side answers a request: the mirrored tree, or the virtual directory beside it.

The kernel's numbers tell: virtual objects and their handles have numbers of their own. Only the virtual
directory's name, at the volume's root, belongs to both sides.

Each handler hands over the other side's coroutine, without one of its own: this is on every request's way.
"""

from __future__ import annotations

import errno
from collections.abc import Coroutine, Sequence
from typing import Any

import pyfuse3

from twinfs.fuse.convert import NODE_BITS
from twinfs.fuse.operations import Operations
from twinfs.fuse.virtual.objects import FIRST_VIRTUAL
from twinfs.fuse.virtual.operations import VirtualOperations, refuse_change
from twinfs.mirror.label import LABEL_DIRECTORY
from twinfs.mirror.nodes import ROOT_ID

VIRTUAL_NAME = LABEL_DIRECTORY
"""What the legs keep to themselves is, in the volume, the name of its own directory."""

_Context = pyfuse3.RequestContext
_Entry = Coroutine[Any, Any, pyfuse3.EntryAttributes]
_Nothing = Coroutine[Any, Any, None]


def is_virtual(number: int) -> bool:
    """Of an object or of a handle."""
    return number & NODE_BITS >= FIRST_VIRTUAL


class Routing(pyfuse3.Operations):
    """Both sides as one file system."""

    supports_dot_lookup = Operations.supports_dot_lookup
    enable_writeback_cache = Operations.enable_writeback_cache
    enable_acl = Operations.enable_acl

    def __init__(self, real: Operations, virtual: VirtualOperations) -> None:
        super().__init__()
        self._real = real
        self._virtual = virtual

    def _side(self, number: int) -> pyfuse3.Operations:
        return self._virtual if is_virtual(number) else self._real

    # Names. What is made, removed or moved in the virtual directory is EROFS, the directory itself EPERM.

    def _changing(self, *names: tuple[int, bytes]) -> Operations:
        for parent, name in names:
            if is_virtual(parent):
                refuse_change()
            if parent == ROOT_ID and name == VIRTUAL_NAME:
                refuse_change(errno.EPERM)
        return self._real

    def lookup(self, parent_inode: int, name: bytes, ctx: _Context) -> _Entry:
        if parent_inode == ROOT_ID and name == VIRTUAL_NAME:
            return self._virtual.lookup_top(ctx)
        return self._side(parent_inode).lookup(parent_inode, name, ctx)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        await self._real.forget([item for item in inode_list if not is_virtual(item[0])])
        await self._virtual.forget([item for item in inode_list if is_virtual(item[0])])

    def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: _Context
    ) -> Coroutine[Any, Any, tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]]:
        return self._changing((parent_inode, name)).create(parent_inode, name, mode, flags, ctx)

    def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: _Context) -> _Entry:
        return self._changing((parent_inode, name)).mkdir(parent_inode, name, mode, ctx)

    def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: _Context) -> _Entry:
        return self._changing((parent_inode, name)).mknod(parent_inode, name, mode, rdev, ctx)

    def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: _Context) -> _Entry:
        return self._changing((parent_inode, name)).symlink(parent_inode, name, target, ctx)

    def link(self, inode: int, new_parent_inode: int, new_name: bytes, ctx: _Context) -> _Entry:
        side = self._changing((new_parent_inode, new_name))
        if is_virtual(inode):
            refuse_change(errno.EXDEV)
        return side.link(inode, new_parent_inode, new_name, ctx)

    def unlink(self, parent_inode: int, name: bytes, ctx: _Context) -> _Nothing:
        return self._changing((parent_inode, name)).unlink(parent_inode, name, ctx)

    def rmdir(self, parent_inode: int, name: bytes, ctx: _Context) -> _Nothing:
        return self._changing((parent_inode, name)).rmdir(parent_inode, name, ctx)

    def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: _Context,
    ) -> _Nothing:
        side = self._changing((parent_inode_old, name_old), (parent_inode_new, name_new))
        return side.rename(parent_inode_old, name_old, parent_inode_new, name_new, flags, ctx)

    def readlink(self, inode: int, ctx: _Context) -> Coroutine[Any, Any, bytes]:
        return self._side(inode).readlink(inode, ctx)

    # Directories

    def opendir(self, inode: int, ctx: _Context) -> Coroutine[Any, Any, int]:
        return self._side(inode).opendir(inode, ctx)

    def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> _Nothing:
        return self._side(fh).readdir(fh, start_id, token)

    def releasedir(self, fh: int) -> _Nothing:
        return self._side(fh).releasedir(fh)

    def fsyncdir(self, fh: int, datasync: bool) -> _Nothing:
        return self._side(fh).fsyncdir(fh, datasync)

    # Contents

    def open(self, inode: int, flags: int, ctx: _Context) -> Coroutine[Any, Any, pyfuse3.FileInfo]:
        return self._side(inode).open(inode, flags, ctx)

    def read(self, fh: int, off: int, size: int) -> Coroutine[Any, Any, bytes]:
        return self._side(fh).read(fh, off, size)

    def write(self, fh: int, off: int, buf: bytes) -> Coroutine[Any, Any, int]:
        # Nothing virtual was opened for writing.
        return self._real.write(fh, off, buf)

    def fsync(self, fh: int, datasync: bool) -> _Nothing:
        return self._side(fh).fsync(fh, datasync)

    def flush(self, fh: int) -> _Nothing:
        return self._real.flush(fh)

    def release(self, fh: int) -> _Nothing:
        return self._side(fh).release(fh)

    # Metadata

    def getattr(self, inode: int, ctx: _Context) -> _Entry:
        return self._side(inode).getattr(inode, ctx)

    def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: _Context,
    ) -> _Entry:
        if is_virtual(inode):
            refuse_change()
        return self._real.setattr(inode, attr, fields, fh, ctx)

    def getxattr(self, inode: int, name: bytes, ctx: _Context) -> Coroutine[Any, Any, bytes]:
        return self._side(inode).getxattr(inode, name, ctx)

    def listxattr(self, inode: int, ctx: _Context) -> Coroutine[Any, Any, Sequence[bytes]]:
        return self._side(inode).listxattr(inode, ctx)

    def setxattr(self, inode: int, name: bytes, value: bytes, ctx: _Context) -> _Nothing:
        if is_virtual(inode):
            refuse_change()
        return self._real.setxattr(inode, name, value, ctx)

    def removexattr(self, inode: int, name: bytes, ctx: _Context) -> _Nothing:
        if is_virtual(inode):
            refuse_change()
        return self._real.removexattr(inode, name, ctx)

    def statfs(self, ctx: _Context) -> Coroutine[Any, Any, pyfuse3.StatvfsData]:
        return self._real.statfs(ctx)
