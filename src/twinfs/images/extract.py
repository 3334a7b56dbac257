"""Copies a part of an image's tree onto a disk: contents with their holes, modes, times, links, xattrs.

Everything is made anew beneath one directory descriptor, so nothing that is there is ever written through,
followed or replaced, whatever names the image holds. What cannot be made is told, and the rest goes on.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from twinfs.errors import ImageError
from twinfs.fsio.metadata import child_path, fd_path
from twinfs.fsio.syscalls import open_beneath
from twinfs.images.protocol import FileSystem, InodeStat

_CHUNK_BYTES: Final = 4 << 20
_MAX_DEPTH: Final = 1024
_DEVICES: Final = (stat.S_IFCHR, stat.S_IFBLK)


@dataclass(slots=True)
class Extracted:
    """What was done so far."""

    files: int = 0
    bytes: int = 0
    failures: int = 0


@contextmanager
def _no_umask() -> Iterator[None]:
    """Modes are the image's. What is not set yet is open to its owner alone, see the calls."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


class Extractor:
    """`on_failure(path, reason)` hears of each object that could not be made as it is in the image.

    Owners are kept as root only; without it everything is the caller's, and device nodes are left out.
    """

    def __init__(
        self,
        tree: FileSystem,
        destination_fd: int,
        *,
        on_failure: Callable[[bytes, str], None],
        on_progress: Callable[[Extracted], None],
    ) -> None:
        self._tree = tree
        self._root_fd = destination_fd
        self._on_failure = on_failure
        self._on_progress = on_progress
        self._links: dict[int, bytes] = {}
        self._is_root = os.geteuid() == 0
        self.done = Extracted()

    def extract(self, inode: int, name: bytes) -> Extracted:
        """Make `name` in the destination from an object of the tree, with all that is beneath it."""
        with _no_umask():
            self._object(self._root_fd, name, name, inode, self._tree.stat(inode), 0)
        return self.done

    def contents(self, inode: int) -> Extracted:
        """Make what is in a directory of the tree directly in the destination."""
        with _no_umask():
            self._entries(self._root_fd, b"", inode, 0)
        return self.done

    def _fail(self, path: bytes, error: ImageError | OSError) -> None:
        self.done.failures += 1
        reason = error.strerror if isinstance(error, OSError) else None
        self._on_failure(path, reason or str(error))

    def _entries(self, dir_fd: int, path: bytes, inode: int, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise ImageError(f"directories are nested deeper than {_MAX_DEPTH}")
        for entry in self._tree.list(inode):
            below = path + b"/" + entry.name if path else entry.name
            try:
                found = self._tree.stat(entry.inode)
                self._object(dir_fd, entry.name, below, entry.inode, found, depth)
            except (ImageError, OSError) as error:
                self._fail(below, error)

    def _object(
        self, dir_fd: int, name: bytes, path: bytes, inode: int, found: InodeStat, depth: int
    ) -> None:
        if b"/" in name or name in (b"", b".", b".."):
            raise ImageError("a name that leads elsewhere")  # trees escape them; this is the last line
        kind = stat.S_IFMT(found.mode)
        if kind == stat.S_IFDIR:
            self._directory(dir_fd, name, path, inode, found, depth)
            return
        if found.link_count > 1 and self._link(dir_fd, name, inode):
            self._count()
            return
        if kind == stat.S_IFREG:
            self._file(dir_fd, name, path, inode, found)
        elif kind == stat.S_IFLNK:
            os.symlink(self._tree.readlink(inode), name, dir_fd=dir_fd)
            self._attributes(child_path(dir_fd, name), path, inode, found, follow=False)
        elif kind in _DEVICES and not self._is_root:
            raise ImageError("a device node, which only root can make")
        else:
            # Its mode at birth: chmod(2) afterwards would follow whatever took its place.
            os.mknod(name, found.mode, found.device, dir_fd=dir_fd)
            self._attributes(child_path(dir_fd, name), path, inode, found, follow=False)
        if found.link_count > 1:
            self._links[inode] = path
        self._count()

    def _count(self) -> None:
        self.done.files += 1
        self._on_progress(self.done)

    def _link(self, dir_fd: int, name: bytes, inode: int) -> bool:
        first = self._links.get(inode)
        if first is None:
            return False
        parent, _, own = first.rpartition(b"/")
        parent_fd = open_beneath(self._root_fd, parent, os.O_PATH | os.O_DIRECTORY)
        try:
            os.link(own, name, src_dir_fd=parent_fd, dst_dir_fd=dir_fd, follow_symlinks=False)
        finally:
            os.close(parent_fd)
        return True

    def _directory(
        self, dir_fd: int, name: bytes, path: bytes, inode: int, found: InodeStat, depth: int
    ) -> None:
        os.mkdir(name, 0o700, dir_fd=dir_fd)
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            try:
                self._entries(fd, path, inode, depth + 1)
            except ImageError as error:
                self._fail(path, error)  # what could be listed is there
            # Last: a read-only directory takes no entries, and every entry changes its times.
            self._attributes(fd_path(fd), path, inode, found, follow=True)
        finally:
            os.close(fd)
        self._count()

    def _file(self, dir_fd: int, name: bytes, path: bytes, inode: int, found: InodeStat) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=dir_fd)
        try:
            os.ftruncate(fd, found.size_bytes)
            for start, length in self._tree.data_ranges(inode):
                self._copy(fd, inode, start, min(start + length, found.size_bytes))
            self._attributes(fd_path(fd), path, inode, found, follow=True)
        finally:
            os.close(fd)

    def _copy(self, fd: int, inode: int, position: int, end: int) -> None:
        while position < end:
            piece = self._tree.read(inode, position, min(_CHUNK_BYTES, end - position))
            if not piece:
                raise ImageError(f"ends at byte {position}, before its size says")
            view = memoryview(piece)
            while view:
                written = os.pwrite(fd, view, position)
                view = view[written:]
                position += written
            self.done.bytes += len(piece)
            self._on_progress(self.done)

    def _attributes(self, target: bytes, path: bytes, inode: int, found: InodeStat, *, follow: bool) -> None:
        """Owner first, for chown takes set-id bits away; times last, for everything changes them.

        With `follow` the target is an open descriptor's path, else the last component is not followed.
        """
        if self._is_root:
            os.chown(target, found.uid, found.gid, follow_symlinks=follow)
        for key, value in self._tree.xattrs(inode).items():
            try:
                os.setxattr(target, key, value, follow_symlinks=follow)
            except OSError as error:
                self._fail(path, OSError(error.errno, f"attribute {key!r}: {error.strerror}"))
        if follow:
            os.chmod(target, stat.S_IMODE(found.mode))
        os.utime(target, ns=(found.atime_ns, found.mtime_ns), follow_symlinks=follow)
