"""Replacing a small file so that a crash leaves the old or the new one, whole."""

from __future__ import annotations

import os


def replace_file(dir_fd: int, name: bytes, data: bytes, mode: int = 0o600) -> None:
    """Write `data` as `name`: temporary, fsync, rename, fsync of the directory.

    `dir_fd` must be opened for reading (not O_PATH). Source: rename(2), fsync(2).
    """
    temporary = name + b".new"
    fd = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=dir_fd
    )
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    # Without this the rename itself can vanish in a power cut.
    os.fsync(dir_fd)
