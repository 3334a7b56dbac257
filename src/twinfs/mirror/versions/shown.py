"""What is kept, as a tree to look at: below the path that an object had, by its name and the time until which
it was so."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from twinfs.fsio.syscalls import open_beneath
from twinfs.mirror.versions import segments
from twinfs.mirror.versions.history import History
from twinfs.mirror.versions.past import status_of
from twinfs.mirror.versions.records import NOTHING, Changed, Gone, Kept

_LONGEST_STEM_BYTES: Final = 200
_LONGEST_ENDING: Final = 8


@dataclass(frozen=True, slots=True)
class ShownFile:
    """A file or symbolic link that is kept: on which of the legs, in what segment. `target` is a link's."""

    leg: int
    segment: bytes
    kept: Kept
    target: bytes = b""


@dataclass(slots=True)
class ShownDirectory:
    """`like` is what the directory of that path is or was: who may look into it. None: nobody knows."""

    like: tuple[int, int, int] | None = None
    """mode, uid, gid"""
    newest_ns: int = 0
    """When something that is in it was kept last."""
    directories: dict[bytes, ShownDirectory] = field(default_factory=dict)
    files: dict[bytes, ShownFile] = field(default_factory=dict)

    def below(self, name: bytes) -> ShownDirectory:
        return self.directories.setdefault(name, ShownDirectory())


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
        if not isinstance(record, Gone | Changed):
            continue
        kept = record.kept
        parent, _, name = record.path.rpartition(b"/")
        if isinstance(record, Gone) and stat.S_ISDIR(kept.mode):
            _directory(top, record.path).like = kept.mode, kept.uid, kept.gid
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


def _like_present(top: ShownDirectory, root_fd: int) -> None:
    """Of what is there, who may look into it is told by what is there now."""
    pending = [(b"", top)]
    while pending:
        path, directory = pending.pop()
        status = _status(root_fd, path)
        if status is not None and stat.S_ISDIR(status.st_mode):
            directory.like = status.st_mode, status.st_uid, status.st_gid
        pending += [(path + b"/" + n if path else n, below) for n, below in directory.directories.items()]


def _status(root_fd: int, path: bytes) -> os.stat_result | None:
    return status_of(root_fd, path) if path else os.fstat(root_fd)


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


def _link_target(root_fd: int, file: ShownFile) -> bytes:
    try:
        return os.readlink(segments.path_of(file.segment, file.kept.number), dir_fd=root_fd)
    except FileNotFoundError:
        return b""  # dropped meanwhile
