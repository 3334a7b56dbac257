"""The frames as a read-only file system."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyfuse3
import trio

from twinfs_capture.errors import CaptureError
from twinfs_capture.frames.film import Film

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME: Final = re.compile(rb"img_(\d{4,})\.([a-z]+)")
_FIRST_INODE: Final = 16
_FOREVER_SECONDS: Final = 3600.0


class FrameFiles(pyfuse3.Operations):
    """img_0001.png, img_0001.xwd...: inode numbers count through kinds, then frames."""

    def __init__(self, film: Film, kinds: Sequence[str]) -> None:
        super().__init__()
        self._film = film
        self._kinds = tuple(kinds)
        info = os.stat(film.path)
        self._time_ns = info.st_mtime_ns
        self._owner = (info.st_uid, info.st_gid)
        # PyAV's decoder is one thing for one thread at a time.
        self._decoding = trio.Lock()

    def _inode(self, number: int, kind: str) -> pyfuse3.InodeT:
        return pyfuse3.InodeT(_FIRST_INODE + number * len(self._kinds) + self._kinds.index(kind))

    def _frame_of(self, inode: int) -> tuple[int, str]:
        number, kind = divmod(inode - _FIRST_INODE, len(self._kinds))
        if inode < _FIRST_INODE or number >= self._film.count:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return number, self._kinds[kind]

    def _entry(self, inode: int) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = pyfuse3.InodeT(inode)
        entry.st_uid, entry.st_gid = self._owner
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = self._time_ns
        entry.attr_timeout = entry.entry_timeout = _FOREVER_SECONDS
        if inode == pyfuse3.ROOT_INODE:
            entry.st_mode = pyfuse3.ModeT(stat.S_IFDIR | 0o555)
            entry.st_nlink = 2
            return entry
        _, kind = self._frame_of(inode)
        entry.st_mode = pyfuse3.ModeT(stat.S_IFREG | 0o444)
        entry.st_nlink = 1
        entry.st_size = self._film.size_bytes(kind)
        entry.st_blksize = 1 << 20
        return entry

    async def getattr(
        self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext | None = None
    ) -> pyfuse3.EntryAttributes:
        return self._entry(inode)

    async def lookup(
        self, parent_inode: pyfuse3.InodeT, name: pyfuse3.FileNameT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        found = _NAME.fullmatch(name)
        if found is None or found[2].decode() not in self._kinds:
            raise pyfuse3.FUSEError(errno.ENOENT)
        number = int(found[1]) - 1
        if not 0 <= number < self._film.count or name != file_name(number, found[2].decode()):
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._entry(self._inode(number, found[2].decode()))

    async def opendir(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileHandleT:
        if inode != pyfuse3.ROOT_INODE:
            raise pyfuse3.FUSEError(errno.ENOTDIR)
        return pyfuse3.FileHandleT(inode)

    async def readdir(self, fh: pyfuse3.FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        for position in range(start_id, self._film.count * len(self._kinds)):
            inode = _FIRST_INODE + position
            number, kind = self._frame_of(inode)
            name = pyfuse3.FileNameT(file_name(number, kind))
            if not pyfuse3.readdir_reply(token, name, self._entry(inode), position + 1):
                return

    async def open(
        self, inode: pyfuse3.InodeT, flags: pyfuse3.FlagT, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.FileInfo:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise pyfuse3.FUSEError(errno.EROFS)
        self._frame_of(inode)
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(inode), keep_cache=True)

    async def read(self, fh: pyfuse3.FileHandleT, off: int, size: int) -> bytes:
        number, kind = self._frame_of(fh)
        try:
            async with self._decoding:
                data = await trio.to_thread.run_sync(self._film.picture, number, kind)
        except CaptureError as error:
            raise pyfuse3.FUSEError(errno.EIO) from error
        return data[off : off + size]

    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        answer = pyfuse3.StatvfsData()
        answer.f_bsize = answer.f_frsize = 4096
        total_bytes = sum(self._film.count * self._film.size_bytes(kind) for kind in self._kinds)
        answer.f_blocks = -(-total_bytes // 4096)
        answer.f_files = self._film.count * len(self._kinds)
        answer.f_namemax = 255
        return answer


def file_name(number: int, kind: str) -> bytes:
    return b"img_%04d.%s" % (number + 1, kind.encode())


def serve(film: Film, mountpoint: Path, kinds: Sequence[str]) -> None:
    """Until it is unmounted, or a signal comes. Raises CaptureError where it cannot be mounted."""
    options = {"fsname=" + str(film.path).replace(",", "_"), "subtype=twinfs-frames", "ro", "nosuid", "nodev"}
    try:
        pyfuse3.init(FrameFiles(film, kinds), str(mountpoint), options)
    except RuntimeError as error:
        raise CaptureError(f"{mountpoint} cannot be mounted: {error}") from error
    is_unmounted = False
    try:
        trio.run(_main)
        is_unmounted = True
    finally:
        pyfuse3.close(unmount=not is_unmounted or os.path.ismount(mountpoint))


async def _main() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_on_signals, nursery.cancel_scope)
        await pyfuse3.main()
        nursery.cancel_scope.cancel()


async def _end_on_signals(scope: trio.CancelScope) -> None:
    import signal

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async for _ in signals:
            scope.cancel()
            return
