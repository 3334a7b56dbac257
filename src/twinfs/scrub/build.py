"""Making a copy of an object of one leg as a temporary on the other: complete, durable, read back.

Only then does it get a name. A kill in between leaves a temporary, which the next start removes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Final

from twinfs.errors import TwinfsError
from twinfs.fsio.beneath import located
from twinfs.fsio.copy import copy_range
from twinfs.fsio.metadata import copy_metadata, fd_path
from twinfs.fsio.syscalls import open_beneath
from twinfs.model import ReadMethod
from twinfs.scrub.hashing import hash_file

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class CopyFailedError(TwinfsError):
    """What was written does not read back as it should, or the good copy is not what it was."""


class Builder:
    """Copies from `source_root` to `target_root`. `is_left_out` decides by path, of directories' contents."""

    def __init__(
        self,
        source_root: int,
        target_root: int,
        method: ReadMethod,
        is_left_out: Callable[[bytes, bool], bool],
    ) -> None:
        self._source_root = source_root
        self._target_root = target_root
        self._method = method
        self._is_left_out = is_left_out

    def build(self, path: bytes, temporary: bytes, content: bytes | None) -> None:
        """Make `temporary` (a path from the target's root) a copy of `path`, metadata included.

        `content`: the hash that a regular file must have, where it is known. CopyFailedError, OSError: the
        caller removes what there is of the temporary.
        """
        source = open_beneath(self._source_root, path, os.O_PATH)
        try:
            status = os.fstat(source)
            if stat.S_ISREG(status.st_mode):
                self._file(source, temporary, content)
            elif stat.S_ISDIR(status.st_mode):
                self._tree(path, source, temporary)
            else:
                self._special(source, status, temporary)
        finally:
            os.close(source)

    def _file(self, source_path_fd: int, temporary: bytes, content: bytes | None) -> None:
        source = os.open(fd_path(source_path_fd), os.O_RDONLY | os.O_CLOEXEC)
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            target = os.open(temporary, flags, 0o600, dir_fd=self._target_root)
            try:
                size = os.fstat(source).st_size
                copy_range(source, target, 0, size)
                os.ftruncate(target, size)
                copy_metadata(fd_path(source), fd_path(target), follow=True)
                os.fsync(target)
            finally:
                os.close(target)
        finally:
            os.close(source)
        if content is not None:
            read = hash_file(self._target_root, temporary, self._method)
            if read.content != content:
                reason = read.error or "other bytes came back than were written"
                raise CopyFailedError(f"the new copy does not read back: {reason}")

    def _special(self, source: int, status: os.stat_result, temporary: bytes) -> None:
        with located(self._target_root, temporary) as (dir_fd, name):
            if stat.S_ISLNK(status.st_mode):
                os.symlink(os.readlink(b"", dir_fd=source), name, dir_fd=dir_fd)
            else:
                os.mknod(name, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=dir_fd)
            target = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
            try:
                # The link in /proc of an O_PATH descriptor is the object itself, a symbolic link too.
                copy_metadata(fd_path(source), fd_path(target), follow=True)
            finally:
                os.close(target)

    def _tree(self, path: bytes, source: int, temporary: bytes) -> None:
        """A directory and all below it; names of one file stay names of one file."""
        first_names: dict[tuple[int, int], bytes] = {}
        made: list[tuple[bytes, bytes]] = []
        pending = [(path, temporary)]
        while pending:
            current, copy = pending.pop()
            os.mkdir(copy, 0o700, dir_fd=self._target_root)
            made.append((current, copy))
            fd = open_beneath(self._source_root, current, os.O_RDONLY | os.O_DIRECTORY)
            try:
                for name in sorted(map(os.fsencode, os.listdir(fd))):
                    child, child_copy = current + b"/" + name, copy + b"/" + name
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if self._is_left_out(child, stat.S_ISDIR(status.st_mode)):
                        continue
                    if stat.S_ISDIR(status.st_mode):
                        pending.append((child, child_copy))
                        continue
                    first = first_names.setdefault((status.st_dev, status.st_ino), child_copy)
                    if first is not child_copy and stat.S_ISREG(status.st_mode):
                        root = self._target_root
                        os.link(first, child_copy, src_dir_fd=root, dst_dir_fd=root, follow_symlinks=False)
                    else:
                        self._child(child, child_copy, status)
            finally:
                os.close(fd)
        for current, copy in reversed(made):
            self._finish_directory(current, copy)

    def _child(self, path: bytes, copy: bytes, status: os.stat_result) -> None:
        content = None
        if stat.S_ISREG(status.st_mode):
            content = hash_file(self._source_root, path, self._method).content
            if content is None:
                raise CopyFailedError(f"{os.fsdecode(path)} cannot be read on either leg")
        self.build(path, copy, content)

    def _finish_directory(self, path: bytes, copy: bytes) -> None:
        """After all that is in it: making names moves its times."""
        source = open_beneath(self._source_root, path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            target = open_beneath(self._target_root, copy, os.O_RDONLY | os.O_DIRECTORY)
            try:
                copy_metadata(fd_path(source), fd_path(target), follow=True)
                os.fsync(target)
            finally:
                os.close(target)
        finally:
            os.close(source)


def metadata_over(source_root: int, target_root: int, path: bytes) -> None:
    """Give the target's object the source's owner, mode, xattrs and times, durably."""
    source = open_beneath(source_root, path, os.O_PATH)
    try:
        with located(target_root, path) as (dir_fd, name):
            target = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
            try:
                copy_metadata(fd_path(source), fd_path(target), follow=True)
            finally:
                os.close(target)
    finally:
        os.close(source)


def times_over(source_root: int, target_root: int, path: bytes) -> None:
    """Only the times of a directory."""
    source = open_beneath(source_root, path, os.O_PATH | os.O_DIRECTORY)
    try:
        status = os.fstat(source)
    finally:
        os.close(source)
    with located(target_root, path) as (dir_fd, name):
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=dir_fd, follow_symlinks=False)
