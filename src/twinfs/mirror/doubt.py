"""A change that was announced but not committed: did the primary do it?

The daemon died between the two records, so nobody was answered; either outcome is right, as long as both
legs agree on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from twinfs.fsio.syscalls import open_beneath
from twinfs.journal.records import Create, Exclude, Link, NameChange, Remove, Rename

IdentOf = Callable[[os.stat_result], int]


def outcome(primary_fd: int, change: NameChange, ident_of: IdentOf) -> int | None:
    """The node number it was about if the primary did it (0 where that is not known any more), else None."""
    there = _stat(primary_fd, change.path)
    match change:
        case Create():
            return ident_of(there) if there else None
        case Link(source):
            original = _stat(primary_fd, source)
            is_done = there and original and ident_of(there) == ident_of(original)
            return ident_of(there) if there and is_done else None
        case Rename():
            return change.ino if there and ident_of(there) == change.ino else None
        case Remove() | Exclude():
            return None if there else 0


def _stat(root_fd: int, path: bytes) -> os.stat_result | None:
    try:
        fd = open_beneath(root_fd, path, os.O_PATH)
    except OSError:
        return None  # no such name
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)
