"""Which inodes of the directory beneath the kernel knows, each held by an O_PATH descriptor."""

from __future__ import annotations

import os
from pathlib import Path

import pyfuse3


class Inodes:
    """Numbers are those of the file system beneath; an open descriptor keeps one from being used again."""

    def __init__(self, root: Path) -> None:
        self._root = os.fsencode(os.path.realpath(root))
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        self._fds: dict[int, int] = {pyfuse3.ROOT_INODE: os.open(root, flags)}
        self._lookups: dict[int, int] = {}
        self._root_number = os.stat(root).st_ino

    def fd(self, inode: int) -> int:
        return self._fds[inode]

    def proc_path(self, inode: int) -> bytes:
        """A path that names the object itself, see proc(5)."""
        return b"/proc/self/fd/%d" % self._fds[inode]

    def path(self, inode: int, name: bytes = b"") -> bytes:
        """Below the root, as the kernel says it now; of a removed object with the kernel's " (deleted)"."""
        full = os.readlink(self.proc_path(inode))
        below = full[len(self._root) :].strip(b"/")
        return b"/".join(part for part in (below, name) if part)

    def number(self, status: os.stat_result) -> int:
        return pyfuse3.ROOT_INODE if status.st_ino == self._root_number else status.st_ino

    def look_up(self, parent: int, name: bytes) -> os.stat_result:
        """Count one reference of the kernel's."""
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._fds[parent])
        status = os.fstat(fd)
        number = self.number(status)
        if number in self._fds:
            os.close(fd)
        else:
            self._fds[number] = fd
        self._lookups[number] = self._lookups.get(number, 0) + 1
        return status

    def count(self, inode: int) -> None:
        self._lookups[inode] = self._lookups.get(inode, 0) + 1

    def forget(self, inode: int, lookups: int) -> None:
        left = self._lookups.get(inode, 0) - lookups
        if left > 0:
            self._lookups[inode] = left
            return
        self._lookups.pop(inode, None)
        if inode != pyfuse3.ROOT_INODE and inode in self._fds:
            os.close(self._fds.pop(inode))

    def entry(self, status: os.stat_result) -> pyfuse3.EntryAttributes:
        """Nothing is cached: every request comes here."""
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = self.number(status)
        entry.entry_timeout = entry.attr_timeout = 0
        for name in ("mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks"):
            setattr(entry, f"st_{name}", getattr(status, f"st_{name}"))
        for name in ("atime_ns", "mtime_ns", "ctime_ns"):
            setattr(entry, f"st_{name}", getattr(status, f"st_{name}"))
        return entry

    def entry_of(self, inode: int) -> pyfuse3.EntryAttributes:
        return self.entry(os.fstat(self._fds[inode]))
