"""A mounted image: the kernel's requests, answered by the image's reader. Read-only; no policy here.

The inode number that the kernel and users see is the reader's, with the reader's epoch above it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import pyfuse3
import trio

from twinfs.fuse.convert import absent
from twinfs.fuse.image_answers import BLOCK_BYTES, answered, entry_of
from twinfs.fuse.image_extents import ExtentMap, reopened
from twinfs.fuse.image_listings import MOST_LISTED, Listings
from twinfs.fuse.image_reader import ImageReader, StaleError
from twinfs.images.worker.origin import Origin
from twinfs.images.worker.wire import PackedStat

_EPOCH_SHIFT: Final = 60
_EPOCHS: Final = 8
_NUMBER_BITS: Final = (1 << _EPOCH_SHIFT) - 1
_OWN_BITS: Final = (1 << 48) - 1
_LIST_COUNT: Final = 256
_MAPPED_BYTES: Final = 256 << 10
"""Smaller files are read before a map of them would be of use."""

_Entries = list[tuple[bytes, PackedStat]]


@dataclass(slots=True)
class _Directory:
    inode: int
    start: int = 0
    entries: _Entries = field(default_factory=list)
    is_last: bool = False
    """Whether nothing comes after `entries`."""
    seen: _Entries | None = field(default_factory=list)
    """What was listed from the beginning on; None once it is too much, or not in order."""


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
        self._handles: dict[int, _Directory | _File] = {}
        self._listings = Listings()
        self._last_handle = 0

    async def _forget_everything(self) -> None:
        """After a new reader took over: the kernel asks again for all but the root."""
        self._listings.clear()
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
            return number  # the tree's own files: the same for every reader
        return number | (self.reader.epoch % _EPOCHS) << _EPOCH_SHIFT

    def _number(self, inode: int) -> int:
        number = inode & _NUMBER_BITS
        if self._shown(number) != inode:
            raise StaleError("stale")
        return number

    def _entry(self, packed: PackedStat) -> pyfuse3.EntryAttributes:
        return entry_of(packed, self._shown(packed[0]))

    # Names and attributes

    @answered
    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        found = await self.reader.call("lookup", self._number(parent_inode), name)
        return absent() if found is None else self._entry(found)

    @answered
    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return self._entry(await self.reader.call("stat", self._number(inode)))

    @answered
    async def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        return bytes(await self.reader.call("readlink", self._number(inode)))

    @answered
    async def getxattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        found = (await self.reader.call("xattrs", self._number(inode))).get(name)
        if found is None:
            raise pyfuse3.FUSEError(errno.ENODATA)
        return bytes(found)

    @answered
    async def listxattr(self, inode: int, ctx: pyfuse3.RequestContext) -> Sequence[bytes]:
        return list(await self.reader.call("xattrs", self._number(inode)))

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

    def _opened(self, handle: _Directory | _File) -> int:
        self._last_handle += 1
        self._handles[self._last_handle] = handle
        return self._last_handle

    @answered
    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> int:
        number = self._number(inode)
        known = self._listings.get(number)
        if known is not None:
            return self._opened(_Directory(number, 0, known, is_last=True))
        return self._opened(_Directory(number))

    @answered
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        directory = self._handles[fh]
        assert isinstance(directory, _Directory)
        position = start_id
        while True:
            is_at_hand = directory.start <= position < directory.start + len(directory.entries)
            if not is_at_hand and not (directory.is_last and position >= directory.start):
                await self._fetch(directory, position)
            following = directory.entries[position - directory.start :]
            for name, packed in following:
                if not pyfuse3.readdir_reply(token, name, self._entry(packed), position + 1):
                    return
                position += 1
            if directory.is_last:
                return

    async def _fetch(self, directory: _Directory, position: int) -> None:
        found, directory.is_last = await self.reader.call("list", directory.inode, position, _LIST_COUNT)
        directory.entries, directory.start = found, position
        if directory.seen is None or len(directory.seen) != position or position > MOST_LISTED:
            directory.seen = None
            return
        directory.seen += found
        if directory.is_last:
            self._listings.put(directory.inode, directory.seen)

    @answered
    async def releasedir(self, fh: int) -> None:
        del self._handles[fh]

    # Contents

    @answered
    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise pyfuse3.FUSEError(errno.EROFS)
        number = self._number(inode)
        extents = None
        found = await self.reader.call("stat", number)
        if self._image_fd is not None and stat.S_ISREG(found[1]) and found[6] >= _MAPPED_BYTES:
            listed = await self.reader.call("extents", number)
            if listed is not None:
                extents = ExtentMap(self._image_fd, found[6], listed)
        handle = self._opened(_File(inode, extents))
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(handle), keep_cache=True)

    @answered
    async def read(self, fh: int, off: int, size: int) -> bytes:
        file = self._handles[fh]
        assert isinstance(file, _File)
        number = self._number(file.inode)
        if file.extents is not None:
            return await file.extents.read(off, size)
        return bytes(await self.reader.call("read", number, off, size))

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
