"""Whether a directory can become a volume's leg."""

from __future__ import annotations

import os
import stat

from twinfs.errors import DamagedLabelError, LegError, LegInUseError
from twinfs.fsio.disks import what_is_shared
from twinfs.mirror.folders import TEMPORARY, VERSIONS
from twinfs.mirror.label import (
    LABEL_DIRECTORY,
    LABEL_NAME,
    check_not_within,
    exists,
    is_empty,
    open_directory,
    read_label,
    taken,
)
from twinfs.mirror.quarantine import QUARANTINE
from twinfs.model import Role


def check_free(path: str, volume_id: str, *, adopt: bool = False) -> None:
    """That a directory can become a leg of a volume: empty, unless `adopt`, or labelled for it by an attempt
    before."""
    fd = open_directory(Role.SECONDARY, path)
    try:
        _check_folders(fd, path)
        check_not_within(path)
        try:
            found = read_label(fd, Role.SECONDARY, path)
        except DamagedLabelError:
            if not adopt:
                raise
            found = None
        is_ours = found is not None and found.volume_id == volume_id
        if found is not None and is_ours and (found.is_of_new_disk or (adopt and not found.events)):
            return
        if found is not None and (found.events or not is_ours):
            raise taken(path, found)
        if not adopt and not is_empty(fd):
            raise LegInUseError(
                f"{path} is not empty; a new disk for a leg must be.\n"
                f"  If it is a copy of the volume's files, say --adopt: what differs goes to its quarantine."
            )
    finally:
        os.close(fd)


def _check_folders(fd: int, path: str) -> None:
    """That what is ours there is not somebody else's: nothing is written through a link to elsewhere."""
    for name in (LABEL_DIRECTORY, TEMPORARY, QUARANTINE, VERSIONS):
        if exists(fd, name) and not stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
            raise LegInUseError(f"{path}/{os.fsdecode(name)} is no directory; move it away.")
    label = LABEL_DIRECTORY + b"/" + LABEL_NAME
    if exists(fd, label) and not stat.S_ISREG(os.stat(label, dir_fd=fd, follow_symlinks=False).st_mode):
        raise LegInUseError(f"{path}/{os.fsdecode(label)} is no file; move it away.")


def one_disk(first: str, second: str) -> str:
    """What two directories share that a mirror should not, in words; empty for nothing that is known."""
    fds: list[int] = []
    try:
        fds += (open_directory(Role.PRIMARY, path) for path in (first, second))
        return what_is_shared(*fds)
    finally:
        for fd in fds:
            os.close(fd)


def check_other_disk(path: str, staying_fd: int, staying_path: str) -> None:
    """That a directory is not on the disk of the leg that stays. LegError."""
    fd = open_directory(Role.SECONDARY, path)
    try:
        if shared := what_is_shared(fd, staying_fd):
            raise LegError(
                f"{path} and {staying_path}, the leg that stays, are on {shared}:"
                f" both copies would go with it.\n"
                f"  Take a directory on another disk; or, if you mean it, add --force."
            )
    finally:
        os.close(fd)
