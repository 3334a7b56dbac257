"""What is in a leg's quarantine: told by the notes beside each session's folder, and by what is there.

Notes are only believed of what is there, and what is there without a note (a full disk, a power cut, a
session of an older twinfs) is told of all the same.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from twinfs.fsio.syscalls import open_beneath
from twinfs.fsio.tree import remove_tree
from twinfs.mirror.folders import TEMPORARY
from twinfs.mirror.quarantine import NOTES_SUFFIX, QUARANTINE, SESSION_FORMAT, Note, line, size_of
from twinfs.mirror.versions.past import status_of
from twinfs.model import PutAside, Role

_SESSION: Final = re.compile(rb"\d{8}T\d{6}\.\d{6}")

UNKNOWN: Final = "not known"


@dataclass(frozen=True, slots=True)
class Entry:
    """`place` is where it is now, from the leg's root; `path` where it was. `size` as in `Note.bytes`."""

    session: bytes
    place: bytes
    path: bytes
    time: float
    why: str
    mode: int
    size: int | None


def sessions(root_fd: int) -> list[bytes]:
    """The oldest first. What else people may have put there is none of ours."""
    try:
        fd = open_beneath(root_fd, QUARANTINE, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        names = {name.removesuffix(NOTES_SUFFIX) for name in map(os.fsencode, os.listdir(fd))}
        return sorted(filter(_SESSION.fullmatch, names))
    finally:
        os.close(fd)


def begun(session: bytes) -> float:
    """Seconds since the epoch."""
    return datetime.strptime(session.decode(), SESSION_FORMAT).replace(tzinfo=UTC).timestamp()


def newest(root_fd: int, session: bytes) -> float:
    """When it last put something aside, or gave something other metadata; seconds since the epoch."""
    return max((note.time for note in _read_notes(root_fd, session)), default=begun(session))


def entries(root_fd: int, session: bytes) -> list[Entry]:
    """What the session has put aside, by where it was."""
    noted = _notes(root_fd, session)
    found = []
    for place, note in noted.items():
        status = status_of(root_fd, place)
        if status is not None:
            size = note.bytes if stat.S_ISDIR(status.st_mode) else size_of(status)
            path = bytes.fromhex(note.path_hex) or note.path.encode()
            found.append(Entry(session, place, path, note.time, note.why or UNKNOWN, status.st_mode, size))
    for place, status in _unnoted(root_fd, session, noted):
        path = place[len(_folder(session)) + 1 :]
        found.append(
            Entry(session, place, path, begun(session), UNKNOWN, status.st_mode, size_of(status)),
        )
    return sorted(found, key=lambda entry: entry.path)


def _folder(session: bytes) -> bytes:
    return QUARANTINE + b"/" + session


def _notes(root_fd: int, session: bytes) -> dict[bytes, Note]:
    """By place; of several of one object what the later ones say of its size."""
    return {
        bytes.fromhex(note.kept_as_hex) or note.kept_as.encode(): note
        for note in _read_notes(root_fd, session)
        if note.kept_as is not None
    }


def _read_notes(root_fd: int, session: bytes) -> Iterator[Note]:
    try:
        fd = open_beneath(root_fd, _folder(session) + NOTES_SUFFIX, os.O_RDONLY)
    except FileNotFoundError:
        return
    with open(fd, "rb") as file:
        for text in file:
            # Else it was cut off, by a full disk or a power cut.
            with contextlib.suppress(msgspec.MsgspecError):
                yield msgspec.json.decode(text, type=Note)


def _unnoted(root_fd: int, session: bytes, noted: Iterable[bytes]) -> Iterator[tuple[bytes, os.stat_result]]:
    """Objects that no note names, each with all below it, but for the folders that lead to noted ones."""
    known = set(noted)
    leading = {place[:end] for place in known for end in range(len(place)) if place[end] == ord("/")}
    pending = [_folder(session)]
    while pending:
        folder = pending.pop()
        for name, status in _listing(root_fd, folder):
            place = folder + b"/" + name
            if place in leading and stat.S_ISDIR(status.st_mode) and place not in known:
                pending.append(place)
            elif place not in known:
                yield place, status


def _listing(root_fd: int, path: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """Nothing where there is no such directory (any more)."""
    try:
        fd = open_beneath(root_fd, path, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            with contextlib.suppress(FileNotFoundError):
                yield name, os.stat(name, dir_fd=fd, follow_symlinks=False)
    finally:
        os.close(fd)


def is_there(root_fd: int, path: bytes) -> bool:
    return status_of(root_fd, path) is not None


def measure(root_fd: int, place: bytes, check: Callable[[], None] = lambda: None) -> int:
    """The size of a file, or of all files below a directory. `check` may raise to end it."""
    status = status_of(root_fd, place)
    total, pending = 0 if status is None else size_of(status) or 0, [place]
    while pending:
        check()
        folder = pending.pop()
        for name, status in _listing(root_fd, folder):
            if stat.S_ISDIR(status.st_mode):
                pending.append(folder + b"/" + name)
            total += size_of(status) or 0
    return total


def remember_size(root_fd: int, entry: Entry, leg: Role, size: int) -> None:
    """Note what a directory was measured to have, so that nobody has to do that again. OSError."""
    text, path = entry.place.decode(errors="backslashreplace"), entry.path.decode(errors="backslashreplace")
    note = Note(
        path=path,
        leg=leg.value,
        time=entry.time,
        why="" if entry.why == UNKNOWN else entry.why,
        kept_as=text,
        bytes=size,
        path_hex="" if path.encode() == entry.path else entry.path.hex(),
        kept_as_hex="" if text.encode() == entry.place else entry.place.hex(),
    )
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(_folder(entry.session) + NOTES_SUFFIX, flags, 0o600, dir_fd=root_fd)
    try:
        os.write(fd, line(note))
    finally:
        os.close(fd)


def purge(root_fd: int, session: bytes) -> None:
    """Remove all that a session has put aside. First out of sight, by one rename: a kill leaves it in the
    one place or in the other, from where the next start removes it."""
    aside = TEMPORARY + b"/purged-" + session
    with contextlib.suppress(FileNotFoundError):
        os.rename(_folder(session), aside, src_dir_fd=root_fd, dst_dir_fd=root_fd)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_folder(session) + NOTES_SUFFIX, dir_fd=root_fd)
    # The daemon empties that folder, too, whenever it takes a leg back.
    with contextlib.suppress(FileNotFoundError):
        remove_tree(root_fd, aside)


class Stock:
    """The figures of one leg's quarantine. A session where nothing has changed is looked at once."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[tuple[int, int], PutAside]] = {}

    def held(
        self, root_fd: int, leg: Role, check: Callable[[], None] = lambda: None, *, is_measuring: bool = False
    ) -> PutAside:
        """`is_measuring`: directories that nobody has measured yet are, and a note is made of it; else
        they count without their size. OSError."""
        known = self._known
        self._known = {}
        for session in sessions(root_fd):
            mark = _mark(root_fd, session)
            if session not in known or known[session][0] != mark:
                sizes = self._look(root_fd, session, leg, check, is_measuring=is_measuring)
                known[session] = _mark(root_fd, session), sizes
            self._known[session] = known[session]
        return together(held for _, held in self._known.values())

    def _look(
        self, root_fd: int, session: bytes, leg: Role, check: Callable[[], None], *, is_measuring: bool
    ) -> PutAside:
        found = entries(root_fd, session)
        total = 0
        for entry in found:
            size = entry.size
            if size is None and is_measuring:
                size = measure(root_fd, entry.place, check)
                remember_size(root_fd, entry, leg, size)
            total += size or 0
        return PutAside(len(found), total, min((entry.time for entry in found), default=None))


def _mark(root_fd: int, session: bytes) -> tuple[int, int]:
    """What moves when something comes there, or the whole of it goes."""
    notes = status_of(root_fd, _folder(session) + NOTES_SUFFIX)
    folder = status_of(root_fd, _folder(session))
    return (notes.st_size if notes else -1, folder.st_mtime_ns if folder else -1)


def together(found: Iterable[PutAside]) -> PutAside:
    parts = list(found)
    since = [part.since for part in parts if part.since is not None]
    return PutAside(
        sum(part.objects for part in parts), sum(part.bytes for part in parts), min(since, default=None)
    )
