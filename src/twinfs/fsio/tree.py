"""Removing and moving whole trees, by descriptor."""

from __future__ import annotations

import os
import stat


def remove_tree(dir_fd: int, name: bytes) -> None:
    """Remove `name` and all below it, following no symbolic link. Nothing there is no error.

    Depth costs a descriptor a level, not a Python frame.
    """
    open_dirs: list[tuple[int, bytes]] = []
    pending: list[tuple[int, bytes, bool]] = [(dir_fd, name, False)]
    while pending:
        parent_fd, entry, is_emptied = pending.pop()
        if is_emptied:
            os.close(open_dirs.pop()[0])
            os.rmdir(entry, dir_fd=parent_fd)
            continue
        try:
            status = os.stat(entry, dir_fd=parent_fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(entry, dir_fd=parent_fd)
            continue
        fd = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
        open_dirs.append((fd, entry))
        pending.append((parent_fd, entry, True))
        pending.extend((fd, os.fsencode(child), False) for child in os.listdir(fd))
