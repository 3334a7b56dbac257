"""The kernel's requests about virtual objects. Reading works, changing is EROFS."""

from __future__ import annotations

import errno
import functools
import logging
import os
import stat
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Concatenate, Final, NoReturn, ParamSpec, TypeAlias, TypeVar

import pyfuse3

from twinfs.fuse.forever import FOREVER_SECONDS, absent
from twinfs.fuse.virtual.objects import VirtualDirectory, VirtualLink, VirtualObject, VirtualTable
from twinfs.mirror.nodes import ROOT_ID

log: Final = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Handler: TypeAlias = Callable[Concatenate["VirtualOperations", _P], Coroutine[Any, Any, _T]]


def answered(handler: _Handler[_P, _T]) -> _Handler[_P, _T]:
    """A provider's OSError is the caller's errno; anything else is our bug, and EIO for that one request:
    an uncaught exception would end the whole mount."""

    async def answer(self: VirtualOperations, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return await handler(self, *args, **kwargs)
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None
        except pyfuse3.FUSEError:
            raise
        except Exception:
            log.exception("%s failed", handler.__name__)
            raise pyfuse3.FUSEError(errno.EIO) from None

    functools.update_wrapper(answer, handler)
    return answer


def refuse_change(code: int = errno.EROFS) -> NoReturn:
    raise pyfuse3.FUSEError(code)


class VirtualOperations(pyfuse3.Operations):
    """A handle of a file is its number; a handle of a directory is a number with the listing of that
    moment behind it."""

    def __init__(self, top: VirtualDirectory) -> None:
        super().__init__()
        self._top = top
        self._table = VirtualTable()
        self._listings: dict[int, tuple[int, Sequence[tuple[bytes, VirtualObject]]]] = {}

    @answered
    async def lookup_top(self, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        """The directory that holds all the others, below the volume's root."""
        return _entry(self._top, self._table.looked_up(self._top, ROOT_ID))

    @answered
    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        found = await self._table.directory(parent_inode).find(name)
        if found is None:
            entry = absent()
            entry.entry_timeout = 0
            return entry
        return _entry(found, self._table.looked_up(found, parent_inode))

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for number, lookups in inode_list:
            self._table.forget(number, lookups)

    @answered
    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return _entry(self._table[inode], inode)

    @answered
    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        found = self._table[inode]
        if not isinstance(found, VirtualLink):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return await found.target()

    # Directories

    @answered
    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        handle = self._table.new_number()
        self._listings[handle] = (inode, await self._table.directory(inode).entries())
        return handle

    @answered
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        inode, entries = self._listings[fh]
        for position, (name, number) in enumerate(((b".", inode), (b"..", self._table.parent_of(inode)))):
            # The kernel takes no reference for these two, see fuse_direntplus_link in fs/fuse/readdir.c.
            if position >= start_id and not pyfuse3.readdir_reply(token, name, _dot(number), position + 1):
                return
        first = max(start_id, 2)
        for position, (name, found) in enumerate(entries[first - 2 :], first):
            number = self._table.looked_up(found, inode)
            if not pyfuse3.readdir_reply(token, name, _entry(found, number), position + 1):
                self._table.forget(number, 1)
                return

    @answered
    async def releasedir(self, fh: int) -> None:
        del self._listings[fh]

    @answered
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        return None

    # Contents

    @answered
    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
            refuse_change()
        self._table.file(inode)
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(inode), keep_cache=True)

    @answered
    async def read(self, fh: int, off: int, size: int) -> bytes:
        return await self._table.file(fh).read(off, size)

    @answered
    async def fsync(self, fh: int, datasync: bool) -> None:
        return None

    @answered
    async def release(self, fh: int) -> None:
        return None

    # Metadata

    @answered
    async def getxattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        found = (await self._table[inode].xattrs()).get(name)
        if found is None:
            # Not ENOSYS: the kernel would never ask again, for any file.
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        return found

    @answered
    async def listxattr(self, inode: int, ctx: pyfuse3.RequestContext) -> Sequence[bytes]:
        return list(await self._table[inode].xattrs())


def _entry(found: VirtualObject, number: int) -> pyfuse3.EntryAttributes:
    facts = found.facts()
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = number
    entry.attr_timeout = FOREVER_SECONDS
    entry.entry_timeout = 0 if found.is_replaced else FOREVER_SECONDS
    entry.st_mode = facts.mode
    entry.st_nlink = facts.links or (2 if stat.S_ISDIR(facts.mode) else 1)
    entry.st_uid = facts.uid
    entry.st_gid = facts.gid
    entry.st_size = facts.size_bytes
    entry.st_blocks = -(-facts.size_bytes // 512) if facts.blocks < 0 else facts.blocks
    entry.st_mtime_ns = facts.mtime_ns
    entry.st_atime_ns = facts.mtime_ns if facts.atime_ns is None else facts.atime_ns
    entry.st_ctime_ns = facts.mtime_ns if facts.ctime_ns is None else facts.ctime_ns
    return entry


def _dot(number: int) -> pyfuse3.EntryAttributes:
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = number
    entry.st_mode = stat.S_IFDIR
    return entry
