"""Opens what an image names beside itself: parts, extents, backing files.

The names are an attacker's to choose, so they are looked for in the image's own directory only, and a
symbolic link there leads nowhere. Where one process reads for many users, what is beside must be readable
for the same users as the image.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.sources import FileSource

_ACL: Final = "system.posix_acl_access"


class Beside:
    """Keeps what it opened; close it with the image."""

    def __init__(self, path: str, *, like: FileSource | None = None, directory_fd: int | None = None) -> None:
        """`like`: only what the same users may read as this. `directory_fd`: in place of `path`'s."""
        directory = os.path.dirname(path) or "."
        try:
            self._directory = os.open(
                directory if directory_fd is None else ".",
                os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC,
                dir_fd=directory_fd,
            )
        except OSError as error:
            raise ImageError(f"{directory}: {error.strerror}") from None
        self._rights = None if like is None else _rights_of(like.descriptor)
        self._opened: list[FileSource] = []

    def open(self, name: str) -> FileSource:
        if "/" in name or name in ("", ".", "..") or "\0" in name:
            raise ImageError(
                f"the image needs {name!r}, which is not in its own directory; copy it beside the image"
            )
        try:
            status = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except OSError as error:
            raise ImageError(f"the image needs {name!r} beside it: {error.strerror}") from None
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"the image needs {name!r} beside it, which is no ordinary file")
        found = FileSource(name, directory_fd=self._directory)
        self._opened.append(found)
        if self._rights is not None and _rights_of(found.descriptor) != self._rights:
            raise ImageError(
                f"the image needs {name!r} beside it, which has another owner, group or mode than the image"
            )
        return found

    def exists(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except (OSError, ValueError):
            return False
        return True

    @property
    def opened(self) -> tuple[FileSource, ...]:
        return tuple(self._opened)

    def close(self) -> None:
        for each in self._opened:
            each.close()
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1


def _rights_of(fd: int) -> tuple[int, int, int, bytes]:
    status = os.fstat(fd)
    try:
        acl = os.getxattr(fd, _ACL)
    except OSError:
        acl = b""  # none, or the file system knows no ACLs
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), acl
