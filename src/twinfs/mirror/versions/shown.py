"""What is kept, as a tree to look at: below the path that an object had, by its name and the time until which
it was so.

Who may look is told by modes alone, and never more than then: an ACL leaves what the owner may, because under
it the group's bits of the mode are its mask, and the others' may be denied to somebody. A directory that was
another one before is shown with what both allow.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from twinfs.fsio.metadata import ACCESS_ACL, child_path, fd_path, has_access_acl
from twinfs.fsio.syscalls import open_beneath
from twinfs.mirror.failures import UNEXPECTED
from twinfs.mirror.versions import segments
from twinfs.mirror.versions.history import History
from twinfs.mirror.versions.past import status_of
from twinfs.mirror.versions.records import NOTHING, Changed, Gone, Kept, Moved

_LONGEST_STEM_BYTES: Final = 200
_LONGEST_ENDING: Final = 8


@dataclass(frozen=True, slots=True)
class ShownFile:
    """A file or symbolic link that is kept: on which of the legs, in what segment. `target` is a link's."""

    leg: int
    segment: bytes
    kept: Kept
    target: bytes = b""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may look: `mode` with the type, its owner and group."""

    mode: int
    uid: int
    gid: int

    def by_owner(self) -> Access:
        """What is left where an ACL says more."""
        return replace(self, mode=self.mode & ~(stat.S_IRWXG | stat.S_IRWXO))

    def within(self, other: Access) -> Access:
        """What both allow."""
        same = (stat.S_IRWXU, self.uid == other.uid), (stat.S_IRWXG, self.gid == other.gid)
        shared = sum(bits for bits, is_same in same if is_same) | stat.S_IRWXO
        return replace(self, mode=stat.S_IFMT(self.mode) | (self.mode & other.mode & shared))


@dataclass(slots=True)
class ShownDirectory:
    """`like` is what the directory of that path is or was: who may look into it. None: nobody knows."""

    like: Access | None = None
    has_moved: bool = False
    """What is there now is not, or not only, what was."""
    newest_ns: int = 0
    """When something that is in it was kept last."""
    directories: dict[bytes, ShownDirectory] = field(default_factory=dict)
    files: dict[bytes, ShownFile] = field(default_factory=dict)

    def below(self, name: bytes) -> ShownDirectory:
        return self.directories.setdefault(name, ShownDirectory())

    def limit(self, access: Access, *, has_acl: bool) -> None:
        """It is, or was for a time, so."""
        access = access.by_owner() if has_acl else access
        self.like = access if self.like is None else access.within(self.like)


def state_of(root_fds: Sequence[int]) -> tuple[tuple[bytes, int], ...]:
    """Changes when there is something else to show. OSError."""
    found = []
    for fd in root_fds:
        for segment in segments.names(fd):
            log = status_of(fd, segments.log_path(segment))
            found.append((segment, 0 if log is None else log.st_size))
    return tuple(found)


def shown(root_fds: Sequence[int]) -> ShownDirectory:
    """Everything that is kept on the legs. OSError."""
    top = ShownDirectory()
    legs = {fd: number for number, fd in enumerate(root_fds)}
    for past in History(root_fds).changes:
        record = past.record
        if isinstance(record, Moved):
            _note_moved(top, record)
        if not isinstance(record, Gone | Changed):
            continue
        kept = record.kept
        parent, _, name = record.path.rpartition(b"/")
        if isinstance(record, Gone) and stat.S_ISDIR(kept.mode):
            access = Access(kept.mode, kept.uid, kept.gid)
            _directory(top, record.path).limit(access, has_acl=ACCESS_ACL in kept.xattrs)
        elif kept.number != NOTHING and stat.S_IFMT(kept.mode) in (stat.S_IFREG, stat.S_IFLNK):
            file = ShownFile(legs[past.root_fd], past.segment, kept)
            if stat.S_ISLNK(kept.mode):
                file = replace(file, target=_link_target(past.root_fd, file))
            directory = _directory(top, parent)
            directory.files[_free_name(directory.files, name, past.time_ns)] = file
            directory.newest_ns = max(directory.newest_ns, past.time_ns)
    _like_present(top, root_fds[0])
    return top


def _directory(top: ShownDirectory, path: bytes) -> ShownDirectory:
    for name in path.split(b"/") if path else ():
        top = top.below(name)
    return top


def _note_moved(top: ShownDirectory, record: Moved) -> None:
    for path in (record.source, record.path) if record.is_exchange else (record.source,):
        found: ShownDirectory | None = top
        for name in path.split(b"/"):
            found = None if found is None else found.directories.get(name)
        if found is not None:
            _note_all_moved(found)


def _note_all_moved(directory: ShownDirectory) -> None:
    directory.has_moved = True
    for below in directory.directories.values():
        _note_all_moved(below)


def _like_present(top: ShownDirectory, root_fd: int) -> None:
    """Of what is there, who may look into it is told by what is there now."""
    pending = [(b"", top)]
    while pending:
        path, directory = pending.pop()
        if directory.has_moved:
            directory.like = None
        else:
            _limit_by_present(directory, root_fd, path)
        pending += [(path + b"/" + n if path else n, below) for n, below in directory.directories.items()]


def _limit_by_present(directory: ShownDirectory, root_fd: int, path: bytes) -> None:
    try:
        fd = open_beneath(root_fd, path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in UNEXPECTED:
            return  # no directory any more, or below a link
        raise
    try:
        status = os.fstat(fd)
        access = Access(status.st_mode, status.st_uid, status.st_gid)
        directory.limit(access, has_acl=has_access_acl(fd_path(fd), follow=True))
    finally:
        os.close(fd)


def _free_name(taken: dict[bytes, ShownFile], name: bytes, time_ns: int) -> bytes:
    """`beach@2026-11-28T18:00:03.jpg`: an ending stays at the end, where programs look for it."""
    stem, dot, ending = name.rpartition(b".")
    if not stem or len(ending) > _LONGEST_ENDING or not ending.isalnum():
        stem, dot, ending = name, b"", b""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time_ns // 10**9)).encode()
    base = stem[:_LONGEST_STEM_BYTES] + b"@" + moment
    found, number = base + dot + ending, 1
    while found in taken:
        number += 1
        found = b"%s-%d%s%s" % (base, number, dot, ending)
    return found


def open_kept(root_fd: int, file: ShownFile) -> int:
    """FileNotFoundError: it was dropped meanwhile."""
    return open_beneath(root_fd, segments.path_of(file.segment, file.kept.number), os.O_RDONLY)


def access_of(root_fd: int, file: ShownFile) -> Access:
    """Who may read it. OSError."""
    kept = file.kept
    access = Access(kept.mode, kept.uid, kept.gid)
    if stat.S_ISLNK(kept.mode):
        return access
    try:
        has_acl = has_access_acl(child_path(root_fd, segments.path_of(file.segment, kept.number)))
    except FileNotFoundError:
        return access.by_owner()  # dropped meanwhile
    return access.by_owner() if has_acl else access


def _link_target(root_fd: int, file: ShownFile) -> bytes:
    try:
        return os.readlink(segments.path_of(file.segment, file.kept.number), dir_fd=root_fd)
    except FileNotFoundError:
        return b""  # dropped meanwhile
