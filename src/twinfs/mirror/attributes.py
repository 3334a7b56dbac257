"""Metadata: stat, owner, mode, times, extended attributes, space."""

from __future__ import annotations

import errno
import os
import stat

import msgspec

from twinfs.fsio.metadata import ACCESS_ACL, child_path, fd_path, list_xattrs
from twinfs.mirror.content import Content
from twinfs.mirror.core import Core
from twinfs.mirror.nodes import Node

_ACCESS_ACL = ACCESS_ACL.encode()

# Positions in os.statvfs_result, see statvfs(3).
_BLOCKS, _FREE, _AVAILABLE, _FILES, _FREE_FILES, _AVAILABLE_FILES = range(2, 8)


class Wanted(msgspec.Struct, frozen=True):
    """What setattr is to change; None leaves it. Times are nanoseconds since the epoch."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


class Attributes:
    """Operations on any object."""

    def __init__(self, core: Core, content: Content) -> None:
        self._core = core
        self._content = content

    def _target(self, node: Node) -> tuple[bytes, bool]:
        """(path, whether to follow its last step) for calls that take no descriptor."""
        if node.file is not None and node.file.fd >= 0:
            return fd_path(node.file.fd), True
        if node.parent is None:
            if node.dir_fd < 0:
                # Not ENOENT: there may be another object of its name, which the kernel then looks for.
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            return fd_path(node.dir_fd), True
        return child_path(self._core.nodes.directory(node.parent), node.name), False

    def stat(self, node: Node) -> os.stat_result:
        """The primary's; of an object without a name, as long as a descriptor of it is open."""
        if node.file is not None and node.file.fd >= 0:
            return os.fstat(node.file.fd)
        if node.dir_fd >= 0:
            return os.fstat(node.dir_fd)
        if node.parent is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return os.stat(node.name, dir_fd=self._core.nodes.directory(node.parent), follow_symlinks=False)

    async def change(self, node: Node, wanted: Wanted, *, is_privileged: bool = False) -> os.stat_result:
        """chmod, chown, truncate, utimensat: any of them at once."""
        if wanted.size is not None:
            await self._content.truncate(node, wanted.size, is_privileged=is_privileged)
        is_owner = wanted.uid is not None or wanted.gid is not None
        is_times = wanted.atime_ns is not None or wanted.mtime_ns is not None
        if wanted.mode is None and not is_owner and not is_times:
            return self.stat(node)
        if is_times:
            await self._core.let_writes_land(node)
        if node.is_removed and node.file is None and not node.is_directory:
            # The kernel flushes the times of what it is about to forget.
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        path, follow = self._target(node)
        if wanted.mode is not None and not follow and stat.S_ISLNK(self.stat(node).st_mode):
            # Kernels before 6.6 let it through, by a descriptor of the link. chmod(2) here would follow it,
            # out of the leg perhaps, and with our rights.
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        is_nothing = not is_times and self._is_as_wanted(node, wanted)
        if not is_nothing:
            self._core.mark(node, 0, 0)
        if is_owner:
            self._chown(path, follow, wanted)
        if wanted.mode is not None:
            os.chmod(path, wanted.mode & 0o7777)
        if is_nothing:
            return self.stat(node)
        if is_times:
            self._utime(node, wanted)
        if is_owner or wanted.mode is not None:
            await self._core.mirror_metadata(node)
            return self.stat(node)
        # What the file system made of them: it may keep no nanoseconds.
        status = self.stat(node)
        await self._core.mirror_times(node, (status.st_atime_ns, status.st_mtime_ns))
        return status

    def _is_as_wanted(self, node: Node, wanted: Wanted) -> bool:
        """Whether owner and mode are that already, as where an archive is unpacked: only the ctime will move,
        which no leg has of the other. Not with set-id bits or capabilities, which chown(2) takes away."""
        present = self.stat(node)
        uid = present.st_uid if wanted.uid is None else wanted.uid
        gid = present.st_gid if wanted.gid is None else wanted.gid
        mode = stat.S_IMODE(present.st_mode)
        if (uid, gid) != (present.st_uid, present.st_gid) or mode & (stat.S_ISUID | stat.S_ISGID):
            return False
        if wanted.mode is not None and wanted.mode & 0o7777 != mode:
            return False
        path, follow = self._target(node)
        return not list_xattrs(path, follow=follow)

    @staticmethod
    def _chown(path: bytes, follow: bool, wanted: Wanted) -> None:
        uid = -1 if wanted.uid is None else wanted.uid
        gid = -1 if wanted.gid is None else wanted.gid
        os.chown(path, uid, gid, follow_symlinks=follow)

    def _utime(self, node: Node, wanted: Wanted) -> None:
        atime_ns, mtime_ns = wanted.atime_ns, wanted.mtime_ns
        if atime_ns is None or mtime_ns is None:
            present = self.stat(node)
            atime_ns = present.st_atime_ns if atime_ns is None else atime_ns
            mtime_ns = present.st_mtime_ns if mtime_ns is None else mtime_ns
        if node.file is not None and node.file.fd >= 0:
            os.utime(node.file.fd, ns=(atime_ns, mtime_ns))
        else:
            path, follow = self._target(node)
            os.utime(path, ns=(atime_ns, mtime_ns), follow_symlinks=follow)

    def read_link(self, node: Node) -> bytes:
        path, _ = self._target(node)
        return os.readlink(path)

    def get_xattr(self, node: Node, name: bytes) -> bytes:
        if node.file is not None and node.file.fd >= 0:
            return os.getxattr(node.file.fd, name)
        path, follow = self._target(node)
        return os.getxattr(path, name, follow_symlinks=follow)

    def list_xattrs(self, node: Node, *, is_privileged: bool) -> list[bytes]:
        """Names; those of `trusted.` are for the privileged only, see xattr(7)."""
        path, follow = self._target(node)
        names = [os.fsencode(name) for name in list_xattrs(path, follow=follow)]
        return names if is_privileged else [name for name in names if not name.startswith(b"trusted.")]

    async def set_xattr(self, node: Node, name: bytes, value: bytes, groups: frozenset[int] | None) -> None:
        """`groups` are the caller's, None for a privileged one: setting an ACL on a file of a group that
        one is not in takes set-group-ID away, as chmod(2) does."""
        path, follow = self._target(node)
        self._core.mark(node, 0, 0)
        os.setxattr(path, name, value, follow_symlinks=follow)
        if name == _ACCESS_ACL and groups is not None:
            status = self.stat(node)
            if status.st_mode & stat.S_ISGID and status.st_gid not in groups:
                os.chmod(path, stat.S_IMODE(status.st_mode) & ~stat.S_ISGID)
                self._content.on_mode_changed(node)
        await self._core.mirror_metadata(node)

    async def remove_xattr(self, node: Node, name: bytes) -> None:
        path, follow = self._target(node)
        self._core.mark(node, 0, 0)
        os.removexattr(path, name, follow_symlinks=follow)
        await self._core.mirror_metadata(node)

    async def fsync_directory(self, node: Node) -> None:
        """The directory's names are durable on the primary, and in sync mode on the secondary."""
        await self._content.fsync_directory(node)

    async def space(self) -> os.statvfs_result:
        """What can really be mirrored: the smaller leg binds. In the primary's units."""
        first = os.fstatvfs(self._core.primary_fd)
        if not self._core.is_secondary_up:
            return first
        second = self._core.second_space
        if second is None or not self._core.is_secondary_asleep:
            try:
                second = await self._core.look_at_second_space()
            except OSError as error:
                self._core.secondary_failed(error)
                return first
        scale = second.f_frsize / first.f_frsize
        # Versions give way to what people write.
        held = self._core.versions_bytes // second.f_frsize
        values = list(first)
        for field, ours, theirs in (
            (_BLOCKS, first.f_blocks, second.f_blocks * scale),
            (_FREE, first.f_bfree, min(second.f_bfree + held, second.f_blocks) * scale),
            (_AVAILABLE, first.f_bavail, min(second.f_bavail + held, second.f_blocks) * scale),
            (_FILES, first.f_files, second.f_files),
            (_FREE_FILES, first.f_ffree, second.f_ffree),
            (_AVAILABLE_FILES, first.f_favail, second.f_favail),
        ):
            # A file system that makes inodes as needed says 0, and binds nothing (btrfs).
            if field < _FILES or (first.f_files and second.f_files):
                values[field] = min(ours, int(theirs))
        return os.statvfs_result(values)
