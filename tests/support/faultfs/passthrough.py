"""The file system of a fault layer: every request asks the rules, then does the same beneath."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyfuse3

from support.faultfs.inodes import Inodes
from support.faultfs.rules import FaultError, RuleBook

_libc = ctypes.CDLL(None, use_errno=True)
_SET_ID = stat.S_ISUID | stat.S_ISGID
_SPACE = ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "namemax")


def _answered(handler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handler)
    async def answer(*args: Any, **named: Any) -> Any:
        try:
            return await handler(*args, **named)
        except (OSError, FaultError) as error:
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None

    return answer


class PassThrough(pyfuse3.Operations):
    """Runs as the user who started it; new objects are given to who asked."""

    supports_dot_lookup = False
    enable_writeback_cache = False
    enable_acl = True

    def __init__(self, root: Path, rules: RuleBook) -> None:
        super().__init__()
        self._inodes = Inodes(root)
        self._rules = rules
        self._listings: dict[int, tuple[int, list[bytes]]] = {}
        self._last_listing = 0

    # Names

    @_answered
    async def lookup(self, parent_inode, name, ctx):
        await self._rules.judge("lookup", self._inodes.path(parent_inode, name))
        return self._inodes.entry(self._inodes.look_up(parent_inode, name))

    async def forget(self, inode_list):
        for inode, lookups in inode_list:
            self._inodes.forget(inode, lookups)

    async def _made(self, operation: str, parent: int, name: bytes, ctx: Any, make: Callable[[int], Any]):
        """A new object: `make` gets the parent's descriptor."""
        await self._rules.judge(operation, self._inodes.path(parent, name))
        dir_fd = self._inodes.fd(parent)
        make(dir_fd)
        self._give(dir_fd, name, ctx)
        return self._inodes.entry(self._inodes.look_up(parent, name))

    @staticmethod
    def _give(dir_fd: int, name: bytes, ctx: Any) -> None:
        if (ctx.uid, ctx.gid) == (os.geteuid(), os.getegid()):
            return
        is_inherited = os.stat(b"/proc/self/fd/%d" % dir_fd).st_mode & stat.S_ISGID
        before = os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode
        os.chown(name, ctx.uid, -1 if is_inherited else ctx.gid, dir_fd=dir_fd, follow_symlinks=False)
        if before & _SET_ID and stat.S_ISREG(before):  # chown(2) cleared them
            os.chmod(name, stat.S_IMODE(before), dir_fd=dir_fd)

    @_answered
    async def mknod(self, parent_inode, name, mode, rdev, ctx):
        return await self._made(
            "mknod", parent_inode, name, ctx, lambda fd: os.mknod(name, mode, rdev, dir_fd=fd)
        )

    @_answered
    async def mkdir(self, parent_inode, name, mode, ctx):
        return await self._made(
            "mkdir", parent_inode, name, ctx, lambda fd: os.mkdir(name, stat.S_IMODE(mode), dir_fd=fd)
        )

    @_answered
    async def symlink(self, parent_inode, name, target, ctx):
        return await self._made(
            "symlink", parent_inode, name, ctx, lambda fd: os.symlink(target, name, dir_fd=fd)
        )

    @_answered
    async def unlink(self, parent_inode, name, ctx):
        await self._rules.judge("unlink", self._inodes.path(parent_inode, name))
        os.unlink(name, dir_fd=self._inodes.fd(parent_inode))

    @_answered
    async def rmdir(self, parent_inode, name, ctx):
        await self._rules.judge("rmdir", self._inodes.path(parent_inode, name))
        os.rmdir(name, dir_fd=self._inodes.fd(parent_inode))

    @_answered
    async def rename(self, parent_inode_old, name_old, parent_inode_new, name_new, flags, ctx):
        paths = (self._inodes.path(parent_inode_old, name_old), self._inodes.path(parent_inode_new, name_new))
        await self._rules.judge("rename", *paths)
        old_fd, new_fd = self._inodes.fd(parent_inode_old), self._inodes.fd(parent_inode_new)
        if _libc.renameat2(old_fd, name_old, new_fd, name_new, flags) != 0:
            raise OSError(ctypes.get_errno(), "renameat2")

    @_answered
    async def link(self, inode, new_parent_inode, new_name, ctx):
        await self._rules.judge(
            "link", self._inodes.path(inode), self._inodes.path(new_parent_inode, new_name)
        )
        dir_fd = self._inodes.fd(new_parent_inode)
        os.link(self._inodes.proc_path(inode), new_name, dst_dir_fd=dir_fd, follow_symlinks=True)
        self._inodes.count(inode)
        return self._inodes.entry_of(inode)

    @_answered
    async def readlink(self, inode, ctx):
        await self._rules.judge("readlink", self._inodes.path(inode))
        return os.readlink(b"", dir_fd=self._inodes.fd(inode))

    # Directories: a listing is what was there when it began, or was begun again.

    @_answered
    async def opendir(self, inode, ctx):
        await self._rules.judge("opendir", self._inodes.path(inode))
        self._last_listing += 1
        self._listings[self._last_listing] = (inode, [])
        return self._last_listing

    @_answered
    async def readdir(self, fh, start_id, token):
        inode, names = self._listings[fh]
        await self._rules.judge("readdir", self._inodes.path(inode))
        if start_id == 0:
            names = [b".", b"..", *os.listdir(self._inodes.proc_path(inode))]
            self._listings[fh] = (inode, names)
        for index, name in enumerate(names[start_id:], start_id + 1):
            if not self._list_one(inode, name, index, token):
                return

    def _list_one(self, inode: int, name: bytes, index: int, token: Any) -> bool:
        if name in (b".", b".."):
            # The kernel takes no reference for these two.
            return pyfuse3.readdir_reply(token, name, self._inodes.entry_of(inode), index)
        try:
            status = self._inodes.look_up(inode, name)
        except FileNotFoundError:
            return True
        entry = self._inodes.entry(status)
        if pyfuse3.readdir_reply(token, name, entry, index):
            return True
        self._inodes.forget(entry.st_ino, 1)
        return False

    async def releasedir(self, fh):
        del self._listings[fh]

    @_answered
    async def fsyncdir(self, fh, datasync):
        inode, _ = self._listings[fh]
        verdict = await self._rules.judge("fsyncdir", self._inodes.path(inode))
        if not verdict.is_lying:
            fd = os.open(self._inodes.proc_path(inode), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    # Contents: a handle is a descriptor of the file beneath.

    @_answered
    async def open(self, inode, flags, ctx):
        await self._rules.judge("open", self._inodes.path(inode))
        kept = flags & ~(os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_APPEND)
        return pyfuse3.FileInfo(fh=os.open(self._inodes.proc_path(inode), kept | os.O_CLOEXEC))

    @_answered
    async def create(self, parent_inode, name, mode, flags, ctx):
        await self._rules.judge("create", self._inodes.path(parent_inode, name))
        dir_fd = self._inodes.fd(parent_inode)
        kept = flags & ~os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, kept, stat.S_IMODE(mode), dir_fd=dir_fd)
        try:
            self._give(dir_fd, name, ctx)
            return pyfuse3.FileInfo(fh=fd), self._inodes.entry(self._inodes.look_up(parent_inode, name))
        except BaseException:
            os.close(fd)
            raise

    def _path_of_handle(self, fh: int) -> bytes:
        """Of a file that was renamed since: its name now."""
        return self._inodes.path(self._inodes.number(os.fstat(fh)))

    @_answered
    async def read(self, fh, off, size):
        await self._rules.judge("read", self._path_of_handle(fh))
        return os.pread(fh, size, off)

    @_answered
    async def write(self, fh, off, buf):
        verdict = await self._rules.judge("write", self._path_of_handle(fh), size_bytes=len(buf))
        if verdict.is_lying:
            return len(buf)
        return os.pwrite(fh, buf[: verdict.limit_bytes], off)

    @_answered
    async def fsync(self, fh, datasync):
        verdict = await self._rules.judge("fsync", self._path_of_handle(fh))
        if not verdict.is_lying:
            (os.fdatasync if datasync else os.fsync)(fh)

    async def flush(self, fh):
        raise pyfuse3.FUSEError(errno.ENOSYS)

    async def release(self, fh):
        os.close(fh)

    # Metadata

    @_answered
    async def getattr(self, inode, ctx):
        await self._rules.judge("getattr", self._inodes.path(inode))
        return self._inodes.entry_of(inode)

    @_answered
    async def setattr(self, inode, attr, fields, fh, ctx):
        verdict = await self._rules.judge("setattr", self._inodes.path(inode))
        path = self._inodes.proc_path(inode)
        if verdict.is_lying:
            return self._inodes.entry_of(inode)
        if fields.update_uid or fields.update_gid:
            os.chown(path, attr.st_uid if fields.update_uid else -1, attr.st_gid if fields.update_gid else -1)
        if fields.update_mode:
            os.chmod(path, stat.S_IMODE(attr.st_mode))
        if fields.update_size:
            os.truncate(path if fh is None else fh, attr.st_size)
        if fields.update_atime or fields.update_mtime:
            before = os.fstat(self._inodes.fd(inode))
            atime_ns = attr.st_atime_ns if fields.update_atime else before.st_atime_ns
            mtime_ns = attr.st_mtime_ns if fields.update_mtime else before.st_mtime_ns
            os.utime(path, ns=(atime_ns, mtime_ns))
        return self._inodes.entry_of(inode)

    @_answered
    async def getxattr(self, inode, name, ctx):
        await self._rules.judge("getxattr", self._inodes.path(inode))
        return os.getxattr(self._inodes.proc_path(inode), name)

    @_answered
    async def listxattr(self, inode, ctx) -> Sequence[bytes]:
        await self._rules.judge("listxattr", self._inodes.path(inode))
        return [os.fsencode(name) for name in os.listxattr(self._inodes.proc_path(inode))]

    @_answered
    async def setxattr(self, inode, name, value, ctx):
        await self._rules.judge("setxattr", self._inodes.path(inode))
        os.setxattr(self._inodes.proc_path(inode), name, value)

    @_answered
    async def removexattr(self, inode, name, ctx):
        await self._rules.judge("removexattr", self._inodes.path(inode))
        os.removexattr(self._inodes.proc_path(inode), name)

    @_answered
    async def statfs(self, ctx):
        await self._rules.judge("statfs", b"")
        space = os.statvfs(self._inodes.proc_path(pyfuse3.ROOT_INODE))
        data = pyfuse3.StatvfsData()
        for name in _SPACE:
            setattr(data, f"f_{name}", getattr(space, f"f_{name}"))
        return data
