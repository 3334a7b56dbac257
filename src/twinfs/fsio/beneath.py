"""A path's directory and last component, for calls that take a dir_fd."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from twinfs.fsio.syscalls import open_beneath


@contextmanager
def located(root_fd: int, path: bytes) -> Iterator[tuple[int, bytes]]:
    """(descriptor of the directory, name in it); `.` for the root itself.

    No symbolic link on the way is followed, see `open_beneath`. The descriptor is closed afterwards.
    """
    parent, _, name = path.rpartition(b"/")
    dir_fd = open_beneath(root_fd, parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield dir_fd, name or b"."
    finally:
        os.close(dir_fd)
