"""The kernel's requests. Each finds its node, lets the volume act, and answers; no policy here.

Errnos for callers are made here and nowhere else: an OSError of a leg is the caller's answer, anything
else is our bug, logged, and EIO for that one request.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import stat
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import pyfuse3
import trio

from twinfs.fuse.convert import (
    NODE_BITS,
    PRIVILEGED_BIT,
    caller_of,
    entry_of,
    groups_of,
    handle_of,
    space_of,
    wanted_of,
)
from twinfs.fuse.directories import Directory
from twinfs.fuse.forever import absent
from twinfs.fuse.listing_cache import LISTING_MARK
from twinfs.mirror.nodes import Node
from twinfs.mirror.state import Mended
from twinfs.mirror.volume import Volume

log: Final = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Handler = Callable[Concatenate["Operations", _P], Coroutine[Any, Any, _T]]


def answered(handler: _Handler[_P, _T]) -> _Handler[_P, _T]:
    """One uncaught exception would end the whole mount."""

    async def answer(self: Operations, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        roles = self._volume.roles
        gate = roles.gate
        while True:
            if gate.is_closed:
                await gate.wait()
            era = roles.era
            gate.inside += 1
            try:
                return await handler(self, *args, **kwargs)
            except OSError as error:
                failure = error
            except pyfuse3.FUSEError:
                raise
            except Exception:
                log.exception("%s failed", handler.__name__)
                raise pyfuse3.FUSEError(errno.EIO) from None
            finally:
                gate.inside -= 1
            # The primary's word, unless the disk is dead and the other leg can give the answer.
            if not await roles.primary_failed(era, failure):
                raise pyfuse3.FUSEError(failure.errno or errno.EIO)

    functools.update_wrapper(answer, handler)
    return answer


class Operations(pyfuse3.Operations):
    """All that opened a file share its node's descriptors: a handle is the node's number."""

    supports_dot_lookup = True
    enable_writeback_cache = True
    enable_acl = True

    def __init__(self, volume: Volume) -> None:
        super().__init__()
        self._volume = volume
        self._nodes = volume.core.nodes
        self._names = volume.names
        self._content = volume.content
        self._attributes = volume.attributes
        self._directories: dict[int, Directory] = {}
        self._last_directory = 0
        volume.content.on_mode_changed = self._invalidate_attributes
        volume.core.on_primary_mended = self._invalidate_mended
        volume.roles.on_moved = self._invalidate_everything

    @staticmethod
    def _invalidate_attributes(node: Node) -> None:
        pyfuse3.invalidate_inode(pyfuse3.InodeT(node.ident), attr_only=True)

    @staticmethod
    def _invalidate_mended(mended: Sequence[Mended]) -> None:
        """In a thread: the kernel may first have to end what it is doing there."""
        for each in mended:
            parent = pyfuse3.InodeT(each.parent)
            for call in (
                partial(pyfuse3.invalidate_inode, pyfuse3.InodeT(each.ident)),
                partial(pyfuse3.invalidate_entry, parent, pyfuse3.FileNameT(each.name)),
                partial(pyfuse3.invalidate_inode, parent),
            ):
                # What the kernel does not remember needs no forgetting.
                with contextlib.suppress(FileNotFoundError):
                    call()

    @staticmethod
    def _invalidate_everything(idents: Sequence[int], names: Sequence[tuple[int, bytes]]) -> None:
        """The kernel knows a later state than there is now. In a thread: it may have us write back first."""

        def invalidate() -> None:
            # First what files are said to hold that is not there: worse than a name too many.
            for ident in idents:
                with contextlib.suppress(OSError):
                    pyfuse3.invalidate_inode(pyfuse3.InodeT(ident), attr_only=False)
            for parent, name in names:
                with contextlib.suppress(OSError):
                    pyfuse3.invalidate_entry(pyfuse3.InodeT(parent), pyfuse3.FileNameT(name))

        trio.lowlevel.spawn_system_task(trio.to_thread.run_sync, invalidate)

    # Names

    @answered
    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        try:
            node, status = self._names.lookup(self._nodes[parent_inode], name)
        except FileNotFoundError:
            return absent()
        self._nodes.looked_up(node)
        return entry_of(node, status)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for ident, lookups in inode_list:
            self._nodes.forget(ident, lookups)

    @answered
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        parent = self._nodes[parent_inode]
        try:
            node, status = await self._names.create(parent, name, stat.S_IMODE(mode), caller_of(ctx))
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
            node, status = self._names.lookup(parent, name)
            self._nodes.looked_up(node)
            await self._content.open(node, flags, is_privileged=ctx.uid == 0)
        return handle_of(node, ctx), entry_of(node, status)

    async def _make(
        self,
        parent_inode: int,
        name: bytes,
        mode: int,
        ctx: pyfuse3.RequestContext,
        rdev: int = 0,
        target: bytes = b"",
    ) -> pyfuse3.EntryAttributes:
        parent = self._nodes[parent_inode]
        node, status = await self._names.make(parent, name, mode, caller_of(ctx), rdev=rdev, target=target)
        return entry_of(node, status)

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
        node = self._nodes[inode]
        self._nodes.looked_up(node)
        try:
            status = await self._names.link(node, self._nodes[new_parent_inode], new_name)
        except BaseException:
            self._nodes.forget(inode, 1)
            raise
        return entry_of(node, status)

    @answered
    async def unlink(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._names.remove(self._nodes[parent_inode], name, is_directory=False)

    @answered
    async def rmdir(self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._names.remove(self._nodes[parent_inode], name, is_directory=True)

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
        old = (self._nodes[parent_inode_old], name_old)
        new = (self._nodes[parent_inode_new], name_new)
        await self._names.rename(old, new, flags)

    @answered
    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        return self._attributes.read_link(self._nodes[inode])

    # Directories

    @answered
    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        directory = Directory(self._nodes, self._nodes[inode])
        self._last_directory += 1
        handle = self._last_directory | LISTING_MARK
        self._directories[handle] = directory
        return handle

    @answered
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        self._directories[fh].list(start_id, token)

    @answered
    async def releasedir(self, fh: int) -> None:
        self._directories.pop(fh).close()

    @answered
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        await self._attributes.fsync_directory(self._directories[fh].node)

    # Contents

    @answered
    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        node = self._nodes[inode]
        await self._content.open(node, flags, is_privileged=ctx.uid == 0)
        return handle_of(node, ctx)

    @answered
    async def read(self, fh: int, off: int, size: int) -> bytes:
        # Any buffer does: a memoryview saves a copy.
        return await self._content.read(self._nodes[fh & NODE_BITS], off, size)  # type: ignore[return-value]

    @answered
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        is_privileged = bool(fh & PRIVILEGED_BIT)
        return await self._content.write(self._nodes[fh & NODE_BITS], off, buf, is_privileged=is_privileged)

    @answered
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._content.fsync(self._nodes[fh & NODE_BITS], is_data_only=datasync)

    async def flush(self, fh: int) -> None:
        """Nothing to do: that the kernel is answered tells close(2) that what it wrote back has arrived."""

    @answered
    async def release(self, fh: int) -> None:
        self._content.release(self._nodes[fh & NODE_BITS])

    # Metadata

    @answered
    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        node = self._nodes[inode]
        return entry_of(node, self._attributes.stat(node))

    @answered
    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        node = self._nodes[inode]
        status = await self._attributes.change(node, wanted_of(attr, fields), is_privileged=ctx.uid == 0)
        return entry_of(node, status)

    @answered
    async def getxattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        return self._attributes.get_xattr(self._nodes[inode], name)

    @answered
    async def listxattr(self, inode: int, ctx: pyfuse3.RequestContext) -> Sequence[bytes]:
        return self._attributes.list_xattrs(self._nodes[inode], is_privileged=ctx.uid == 0)

    @answered
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._attributes.set_xattr(self._nodes[inode], name, value, groups_of(ctx))

    @answered
    async def removexattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self._attributes.remove_xattr(self._nodes[inode], name)

    @answered
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        return space_of(await self._attributes.space())
