"""What a session left half done in the last segment: cut off, so that no version is listed that is not one.

A record is written before its object is put there, and the object before the user's change is done. So only
the last change can be in doubt. Its record goes when the object is not there, or still has its old name, too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from twinfs.journal.frames import framed
from twinfs.mirror.folders import VERSIONS
from twinfs.mirror.versions import records, segments
from twinfs.mirror.versions.records import NOTHING, Filled, Filling, Gone, Kept, Moved, Record, Why, kept_of

UNKNOWN = b"unknown"
"""Below it is what lost its record in a power cut, by its number."""


@dataclass(slots=True)
class Left:
    """`last` is the last change; `filling` are files whose content was being copied."""

    last: Record | None = None
    filling: set[int] = field(default_factory=set)
    next_segment: int = segments.FIRST


def settle(root_fd: int) -> Left:
    """Look at the newest segment, once, before another is begun. OSError."""
    known = segments.names(root_fd)
    if not known:
        return Left()
    newest = known[-1]
    left = Left(next_segment=segments.number_of(newest) + 1)
    found = segments.read(root_fd, newest)
    if not found.records:
        return left  # killed before there was any
    whole = found.records[: len(found.records) - _undone(root_fd, newest, found.records)]
    for record in found.records[len(whole) :]:
        _remove_object(root_fd, newest, kept_of(record))
    _cut(root_fd, newest, found.ends[len(whole) - 1] if whole else 0)
    _adopt_objects(root_fd, newest, whole)
    for record in whole:
        match record:
            case Filling(ino):
                left.filling.add(ino)
            case Filled(ino):
                left.filling.discard(ino)
            case _:
                left.last = record
    return left


def _undone(root_fd: int, segment: bytes, found: list[Record]) -> int:
    """How many records at the end are of a change that was not done."""
    if not found:
        return 0
    last = found[-1]
    if _is_in_doubt(root_fd, segment, kept_of(last)):
        return 1
    if isinstance(last, Moved) and len(found) > 1:
        before = found[-2]
        is_same = isinstance(before, Gone) and before.change == last.change
        if is_same and _is_in_doubt(root_fd, segment, kept_of(before)):
            return 2
    return 0


def _is_in_doubt(root_fd: int, segment: bytes, kept: Kept | None) -> bool:
    if kept is None or kept.number == NOTHING:
        return False
    try:
        status = os.stat(segments.path_of(segment, kept.number), dir_fd=root_fd, follow_symlinks=False)
    except FileNotFoundError:
        return True
    return status.st_nlink > 1


def _remove_object(root_fd: int, segment: bytes, kept: Kept | None) -> None:
    """Its other name is the file's own."""
    if kept is not None and kept.number != NOTHING:
        try:
            os.unlink(segments.path_of(segment, kept.number), dir_fd=root_fd)
        except FileNotFoundError:
            return


def _open_log(root_fd: int, segment: bytes) -> int:
    name = b"%s/%s/%s" % (VERSIONS, segment, segments.LOG_NAME)
    return os.open(name, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root_fd)


def _cut(root_fd: int, segment: bytes, size: int) -> None:
    fd = _open_log(root_fd, segment)
    try:
        if os.fstat(fd).st_size != size:
            os.ftruncate(fd, size)
    finally:
        os.close(fd)


def _adopt_objects(root_fd: int, segment: bytes, known: list[Record]) -> None:
    """A power cut may keep an object and lose its record, and so its path: it is somebody's all the same."""
    numbers = {kept.number for record in known if (kept := kept_of(record)) is not None}
    fd = os.open(VERSIONS + b"/" + segment, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root_fd)
    try:
        orphans = [int(name) for name in os.listdir(fd) if name.isdecimal() and int(name) not in numbers]
        statuses = [
            (number, os.stat(b"%d" % number, dir_fd=fd, follow_symlinks=False)) for number in sorted(orphans)
        ]
    finally:
        os.close(fd)
    if not statuses:
        return
    log_fd = _open_log(root_fd, segment)
    try:
        for number, status in statuses:
            path = b"%s/%s.%d" % (UNKNOWN, segment, number)
            kept, when = kept_from(status, number), status.st_ctime_ns
            lost = Gone(when, 0, path, when, kept, Why.DELETED)
            os.write(log_fd, framed(records.encode(lost)))
    finally:
        os.close(log_fd)


def kept_from(status: os.stat_result, number: int) -> Kept:
    """What an object's status says of it."""
    return Kept(
        number,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_size,
        status.st_mtime_ns,
        status.st_ino,
        status.st_nlink,
        0 if number == NOTHING else status.st_blocks * 512,
    )
