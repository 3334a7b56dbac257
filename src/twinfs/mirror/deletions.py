"""How many of the secondary's files pending changes of names would delete.

What is made and removed within the changes was never there, and what was moved before it is removed is there
under the name it had. So the changes are gone through in order, with a note of what each name was called
before them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from twinfs.fsio.syscalls import open_beneath
from twinfs.journal.records import Create, Exclude, Link, Remove, Rename
from twinfs.mirror.failures import is_leg_failure
from twinfs.mirror.label import LABEL_DIRECTORY
from twinfs.mirror.plan import Change


class _Name:
    """`origin` is what it was called before the changes; None for what was not there. `changed` are the names
    below that are not simply their origins."""

    __slots__ = ("changed", "origin")

    def __init__(self, origin: bytes | None) -> None:
        self.origin = origin
        self.changed: dict[bytes, _Name] = {}

    def below(self, name: bytes) -> _Name:
        known = self.changed.get(name)
        if known is not None:
            return known
        if self.origin is None:
            return _Name(None)
        return _Name(self.origin + b"/" + name if self.origin else name)


class _Origins:
    """Names after some changes, by what they were called before them."""

    def __init__(self) -> None:
        self._root = _Name(b"")

    def find(self, path: bytes) -> _Name:
        found = self._root
        for name in path.split(b"/") if path else ():
            found = found.below(name)
        return found

    def put(self, path: bytes, found: _Name) -> None:
        *parents, last = path.split(b"/")
        directory = self._root
        for name in parents:
            directory = directory.changed.setdefault(name, directory.below(name))
        directory.changed[last] = found

    def make(self, path: bytes) -> None:
        if self.find(path).origin is not None:
            self.put(path, _Name(None))

    def rename(self, change: Rename) -> None:
        moved, replaced = self.find(change.source), self.find(change.path)
        self.put(change.path, moved)
        self.put(change.source, replaced if change.is_exchange else _Name(None))


def count_deletions(
    root_fd: int, changes: Sequence[Change], *, after: int = 0, keeps_excluded: bool = False
) -> int:
    """Files on the secondary, open at `root_fd`, that the changes would remove: all that are pending, in
    order.

    Not counted are changes up to the number `after`, what somebody waits for, and what a rename replaces. A
    directory that leaves the mirrored part counts with all that was in it. After a kill the secondary may
    have some of the changes already, and a file the name that it gets there. OSError when the disk fails.
    """
    origins = _Origins()
    deletions = 0
    for change in changes:
        match change.names:
            case Create(path) | Link(_, path):
                origins.make(path)
            case Rename() as rename:
                origins.rename(rename)
            case Remove(path, is_directory=False) if _counts(change, after):
                origin = origins.find(path).origin
                deletions += origin is not None and (_is_there(root_fd, origin) or _is_there(root_fd, path))
            case Exclude(path) if _counts(change, after) and not keeps_excluded:
                origin = origins.find(path).origin
                deletions += 0 if origin is None else count_files(root_fd, origin)
            case _:
                pass
    return deletions


def could_be_deleted(changes: Sequence[Change], after: int = 0) -> int:
    """At least as many as `count_deletions`, without a look at the disk, where no directory was excluded;
    else a number without bound."""
    removed = 0
    for change in changes:
        if _counts(change, after):
            if isinstance(change.names, Exclude):
                return 1 << 62
            removed += isinstance(change.names, Remove) and not change.names.is_directory
    return removed


def _counts(change: Change, after: int) -> bool:
    return change.number > after and not change.is_waited_for


def _is_there(root_fd: int, path: bytes) -> bool:
    try:
        os.stat(path, dir_fd=root_fd, follow_symlinks=False)
    except OSError as error:
        if is_leg_failure(error):
            raise
        return False
    return True


def count_files(root_fd: int, path: bytes, enough: int | None = None) -> int:
    """Names at and below `path` that are no directories, without what is our own; counts to `enough`.

    OSError when the disk fails; what cannot be listed has no files.
    """
    files, directories = 0, [path]
    while directories and (enough is None or files < enough):
        directory = directories.pop()
        try:
            fd = open_beneath(root_fd, directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            if is_leg_failure(error):
                raise
            files += error.errno == errno.ENOTDIR and directory == path
            continue
        try:
            prefix = directory + b"/" if directory else b""
            with os.scandir(fd) as entries:
                for entry in entries:
                    name = os.fsencode(entry.name)
                    if not entry.is_dir(follow_symlinks=False):
                        files += 1
                    elif prefix + name != LABEL_DIRECTORY:
                        directories.append(prefix + name)
        finally:
            os.close(fd)
    return files
