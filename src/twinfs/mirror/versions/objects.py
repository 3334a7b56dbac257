"""One object on its way to be a version: its record, and how it gets there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from twinfs.fsio.syscalls import file_handle
from twinfs.mirror.versions.records import NOTHING, Kept, Record
from twinfs.mirror.versions.settling import kept_from
from twinfs.mirror.versions.shelf import Shelf


def store(
    shelf: Shelf,
    status: os.stat_result,
    record_of: Callable[[Kept], Record],
    put: Callable[[int, bytes], None],
) -> bool:
    """First the record, then the object: one without the other is no version. True."""
    place, number = shelf.place, shelf.new_number()
    kept = kept_from(status, number)
    try:
        shelf.append(record_of(kept))
        put(shelf.directory_fd, b"%d" % number)
    except BaseException:
        with contextlib.suppress(OSError):
            shelf.go_back_to(place)
        raise
    shelf.used_bytes += kept.used_bytes
    return True


def linking(dir_fd: int, name: bytes) -> Callable[[int, bytes], None]:
    """How `store` gives it a second name."""

    def put(target_fd: int, target: bytes) -> None:
        os.link(name, target, src_dir_fd=dir_fd, dst_dir_fd=target_fd, follow_symlinks=False)

    return put


def linked(dir_fd: int, name: bytes, status: os.stat_result) -> Kept:
    """A name of a file that has others."""
    kept = kept_from(status, NOTHING)
    handle = file_handle(dir_fd, name)
    return Kept(
        NOTHING,
        kept.mode,
        kept.uid,
        kept.gid,
        kept.size,
        kept.mtime_ns,
        kept.ino,
        kept.links,
        handle=handle,
    )


def of_file(copy: Kept, dir_fd: int, name: bytes, status: os.stat_result) -> Kept:
    """A copy's record tells which file it was of."""
    return Kept(
        copy.number,
        copy.mode,
        copy.uid,
        copy.gid,
        copy.size,
        copy.mtime_ns,
        status.st_ino,
        status.st_nlink,
        copy.used_bytes,
        file_handle(dir_fd, name) if status.st_nlink > 1 else b"",
    )


def status_at(dir_fd: int, name: bytes) -> os.stat_result | None:
    """None where nothing is there, or the disk does not say."""
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except OSError:
        return None
