"""A mounted image: the kernel's requests, answered by the image's reader. Read-only; no policy here.

The inode number that the kernel and users see is the reader's, with the reader's epoch above it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyfuse3
import trio

from twinfs.fuse.forever import absent
from twinfs.fuse.image.answers import BLOCK_BYTES, answered, entry_of
from twinfs.fuse.image.directories import LIST_COUNT, ImageDirectory
from twinfs.fuse.image.extents import ExtentMap, reopened
from twinfs.fuse.image.reader import ImageReader, StaleError
from twinfs.fuse.listing_cache import LISTING_MARK
from twinfs.images.worker.origin import Origin
from twinfs.images.worker.wire import Batch, PackedStat

_EPOCH_SHIFT: Final = 60
_EPOCHS: Final = 8
_NUMBER_BITS: Final = (1 << _EPOCH_SHIFT) - 1
_OWN_BITS: Final = (1 << 24) - 1
"""Of the numbers that every reader gives out alike: those of what is in the image's top directory."""
_MAPPED_BYTES: Final = 256 << 10
"""Smaller files are read before a map of them would be of use."""


@dataclass(slots=True)
class _File:
    inode: int
    extents: ExtentMap | None


class ImageOperations(pyfuse3.Operations):
    supports_dot_lookup = False
    enable_writeback_cache = False
    enable_acl = False

    def __init__(
        self, origin: Origin, *, image_fd: int | None = None, passphrase: bytes | None = None
    ) -> None:
        """`image_fd` is the image file, from which what needs no decoding is read without the reader."""
        super().__init__()
        self.reader = ImageReader(origin, self._forget_everything, passphrase)
        self._image_fd = image_fd
        self._path = origin.path
        self._handles: dict[int, ImageDirectory | _File] = {}
        self._last_handle = 0

    async def _forget_everything(self) -> None:
        """After a new reader took over: the kernel asks again for all but the root."""
        if self._image_fd is not None:
            self._image_fd = await trio.to_thread.run_sync(reopened, self._path, self._image_fd)
        top, _ = await self.reader.call("list", pyfuse3.ROOT_INODE, 0, 10_000)
        for name, packed in top:
            pyfuse3.invalidate_entry_async(pyfuse3.ROOT_INODE, name, ignore_enoent=True)
            await _invalidate(self._shown(packed[0]))
        await _invalidate(pyfuse3.ROOT_INODE)

    # Numbers

    def _shown(self, number: int) -> int:
        if number & ~_OWN_BITS == 0:
            return number
        return number | (self.reader.epoch % _EPOCHS) << _EPOCH_SHIFT

    def _number(self, inode: int) -> int:
        number = inode & _NUMBER_BITS
        if self._shown(number) != inode:
            raise StaleError("stale")
        return number

    async def _ask(self, method: str, inode: int, *arguments: Any) -> Any:  # noqa: ANN401  what the method returns
        """About an inode: the reader that gave its number out, and no other."""
        await self.reader.ready()
        # No await from here to the question: a new reader would be asked with a number of the one before.
        epoch = self.reader.epoch
        found = await self.reader.call(method, self._number(inode), *arguments)
        if self.reader.epoch != epoch:
            raise StaleError("stale")
        return found

    def _entry(self, packed: PackedStat) -> pyfuse3.EntryAttributes:
        return entry_of(packed, self._shown(packed[0]))

    # Names and attributes

    @answered
    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        found = await self._ask("lookup", parent_inode, name)
        return absent() if found is None else self._entry(found)

    @answered
    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return self._entry(await self._ask("stat", inode))

    @answered
    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        return bytes(await self._ask("readlink", inode))

    @answered
    async def getxattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        found = (await self._ask("xattrs", inode)).get(name)
        if found is None:
            raise pyfuse3.FUSEError(errno.ENODATA)
        return bytes(found)

    @answered
    async def listxattr(self, inode: int, ctx: pyfuse3.RequestContext) -> Sequence[bytes]:
        return list(await self._ask("xattrs", inode))

    @answered
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        total, free = await self.reader.call("capacity")
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = BLOCK_BYTES
        data.f_blocks = total // BLOCK_BYTES
        data.f_bfree = data.f_bavail = free // BLOCK_BYTES
        data.f_namemax = 1000
        return data

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """Numbers are not counted: they mean the same for as long as the reader lives."""

    # Directories

    def _opened(self, opened: ImageDirectory | _File, mark: int = 0) -> int:
        self._last_handle += 1
        handle = self._last_handle | mark
        self._handles[handle] = opened
        return handle

    @answered
    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        self._number(inode)
        epoch = self.reader.epoch

        def entry(packed: PackedStat) -> pyfuse3.EntryAttributes:
            if self.reader.epoch != epoch:
                raise StaleError("stale")
            return self._entry(packed)

        async def fetch(position: int) -> Batch:
            found: Batch = await self._ask("list", inode, position, LIST_COUNT)
            return found

        # The kernel keeps the listing: nothing changes here.
        return self._opened(ImageDirectory(fetch, entry, self.reader.begin), LISTING_MARK)

    @answered
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        directory = self._handles[fh]
        assert isinstance(directory, ImageDirectory)
        await directory.fill(start_id, token)

    @answered
    async def releasedir(self, fh: int) -> None:
        del self._handles[fh]

    # Contents

    @answered
    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise pyfuse3.FUSEError(errno.EROFS)
        extents = None
        found = await self._ask("stat", inode)
        if self._image_fd is not None and stat.S_ISREG(found[1]) and found[6] >= _MAPPED_BYTES:
            listed = await self._ask("extents", inode)
            if listed is not None:
                extents = ExtentMap(self._image_fd, found[6], listed)
        handle = self._opened(_File(inode, extents))
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(handle), keep_cache=True)

    @answered
    async def read(self, fh: int, off: int, size: int) -> bytes:
        file = self._handles[fh]
        assert isinstance(file, _File)
        if file.extents is not None:
            self._number(file.inode)
            return await file.extents.read(off, size)
        return bytes(await self._ask("read", file.inode, off, size))

    @answered
    async def release(self, fh: int) -> None:
        del self._handles[fh]


async def _invalidate(inode: int) -> None:
    """In a thread: the kernel waits for reads under way, which this one has to answer."""
    try:
        await trio.to_thread.run_sync(pyfuse3.invalidate_inode, pyfuse3.InodeT(inode))
    except OSError as error:
        if error.errno != errno.ENOENT:  # the kernel does not know it: so much the better
            raise
