"""Putting a copy of an open file aside: what is kept of a file that stays, for quarantine and versions."""

from __future__ import annotations

import itertools
import os
from typing import Final

from twinfs.fsio.copy import copy_range
from twinfs.fsio.metadata import copy_metadata, fd_path
from twinfs.fsio.syscalls import clone_file
from twinfs.mirror.folders import TEMPORARY

_numbers: Final = itertools.count()


class TooLargeError(OSError):
    """Only a reflink would do, and the file system has none."""


def copy_aside(root_fd: int, source_fd: int, *, limit_bytes: int | None = None) -> bytes:
    """Copy content and metadata; returns the copy's path, in the leg's temporary folder: the caller renames
    it to where it belongs, so that nothing half written is ever there. What a kill leaves goes with the next
    start.

    By a reflink where the file system has them, see ioctl_ficlone(2). TooLargeError: it has none, and there
    is more than `limit_bytes`. OSError: nothing is left behind.
    """
    own = TEMPORARY + b"/own-%d" % next(_numbers)
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    copy = os.open(own, flags, 0o600, dir_fd=root_fd)
    try:
        size = os.fstat(source_fd).st_size
        if not _is_cloned(copy, source_fd):
            if limit_bytes is not None and size > limit_bytes:
                raise TooLargeError(0, "larger than what is copied for a version")
            copy_range(source_fd, copy, 0, size)
            os.ftruncate(copy, size)
        copy_metadata(fd_path(source_fd), fd_path(copy), follow=True)
    except BaseException:
        os.unlink(own, dir_fd=root_fd)
        raise
    finally:
        os.close(copy)
    return own


def _is_cloned(copy: int, source_fd: int) -> bool:
    try:
        clone_file(copy, source_fd)
    except OSError:
        return False
    return True
