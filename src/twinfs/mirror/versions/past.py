"""The tree as it was at a moment: the present one, with the changes since then undone, the newest first."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from twinfs.fsio.beneath import located
from twinfs.fsio.syscalls import file_handle, open_beneath
from twinfs.mirror.label import LABEL_DIRECTORY
from twinfs.mirror.versions import segments
from twinfs.mirror.versions.history import Past
from twinfs.mirror.versions.records import NOTHING, Changed, Gone, Kept, Made, Moved, kept_of

_LEFT_OUT = frozenset((LABEL_DIRECTORY, b"lost+found"))


@dataclass(frozen=True, slots=True)
class Found:
    """A file, link or node to bring back: where it is on a leg. `key` is the same for names of one file.

    `is_present`: `path` is a name that it has in the tree of now.
    """

    root_fd: int
    path: bytes
    status: os.stat_result
    key: tuple[int, bytes]
    is_present: bool


@dataclass(slots=True)
class Object:
    """A name of the past. `present` is its path in the present tree, where it is from there; `kept` what a
    record says of it, `past` that record. `mtime_ns` is a directory's, where it has moved since."""

    present: bytes | None = None
    kept: Kept | None = None
    past: Past | None = None
    mtime_ns: int | None = None
    children: dict[bytes, Object | None] = field(default_factory=dict)
    is_directory: bool = True


class PastTree:
    """`root_fd` is the leg whose tree is the present one."""

    def __init__(self, root_fd: int, changes: Iterable[Past]) -> None:
        self._root_fd = root_fd
        self.root = Object(present=b"")
        self._overwritten: dict[tuple[int, int, bytes], Past] = {}
        self._stored: dict[tuple[int, int], list[Past]] = {}
        self._names: dict[int, list[bytes]] | None = None
        for past in changes:
            self._undo(past)

    # Undoing

    def _undo(self, past: Past) -> None:
        record = past.record
        match record:
            case Made():
                self._put(record.path, None, record.parent_mtime_ns)
            case Gone():
                self._note_stored(past, record.kept)
                present = self.find(record.path)
                is_there = present is not None and present.is_directory
                if not (stat.S_ISDIR(record.kept.mode) and is_there):
                    present = _object_of(past, record.kept)
                self._put(record.path, present, record.parent_mtime_ns)
            case Moved():
                self._move_back(record)
            case Changed():
                self._note_stored(past, record.kept)
                self._change_back(past, record)
            case _:
                pass

    def _note_stored(self, past: Past, kept: Kept) -> None:
        if kept.number != NOTHING:
            self._stored.setdefault((past.root_fd, kept.ino), []).append(past)

    def _move_back(self, record: Moved) -> None:
        moved = self.find(record.path)
        if moved is None:
            return  # done and undone again, or not known
        other = self.find(record.source) if record.is_exchange else None
        self._put(record.path, other, record.parent_mtime_ns)
        self._put(record.source, moved, record.source_parent_mtime_ns)

    def _change_back(self, past: Past, record: Changed) -> None:
        if record.kept.links > 1 and record.kept.number != NOTHING:
            # Written in place: all of its names had the old content.
            self._overwritten[past.root_fd, record.kept.ino, record.kept.handle] = past
        present = self.find(record.path)
        if present is not None and not present.is_directory:
            parent, _, name = record.path.rpartition(b"/")
            self._directory(parent).children[name] = _object_of(past, record.kept)

    def _put(self, path: bytes, what: Object | None, parent_mtime_ns: int) -> None:
        parent, _, name = path.rpartition(b"/")
        directory = self._directory(parent)
        directory.children[name] = what
        directory.mtime_ns = parent_mtime_ns

    def _directory(self, path: bytes) -> Object:
        """Also one that no record tells of."""
        directory = self.root
        for name in path.split(b"/") if path else ():
            child = self._child(directory, name)
            if child is None or not child.is_directory:
                child = directory.children[name] = Object()
            directory = child
        return directory

    # Looking

    def find(self, path: bytes) -> Object | None:
        found: Object | None = self.root
        for name in path.split(b"/") if path else ():
            if found is None or not found.is_directory:
                return None
            found = self._child(found, name)
        return found

    def _child(self, directory: Object, name: bytes) -> Object | None:
        if name not in directory.children:
            directory.children[name] = self._present_child(directory, name)
        return directory.children[name]

    def _present_child(self, directory: Object, name: bytes) -> Object | None:
        if directory.present is None or (not directory.present and name in _LEFT_OUT):
            return None
        path = directory.present + b"/" + name if directory.present else name
        status = status_of(self._root_fd, path)
        return None if status is None else Object(path, is_directory=stat.S_ISDIR(status.st_mode))

    def children(self, directory: Object) -> Iterator[tuple[bytes, Object]]:
        """Names and objects, in order of the names."""
        names = {name for name, child in directory.children.items() if child is not None}
        if directory.present is not None:
            names |= set(self._present_names(directory.present)) - directory.children.keys()
        for name in sorted(names):
            child = self._child(directory, name)
            if child is not None:
                yield name, child

    def _present_names(self, path: bytes) -> list[bytes]:
        try:
            fd = open_beneath(self._root_fd, path, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return []
        try:
            names = map(os.fsencode, os.listdir(fd))
            return [name for name in names if path or name not in _LEFT_OUT]
        finally:
            os.close(fd)

    # Where things are

    def status(self, directory: Object) -> os.stat_result | None:
        """Of a directory of the present tree."""
        return None if directory.present is None else status_of(self._root_fd, directory.present)

    def present_path(self, directory: Object) -> tuple[int, bytes] | None:
        return None if directory.present is None else (self._root_fd, directory.present)

    def locate(self, wanted: Object) -> Found | None:
        """What is no directory; None where it could not be kept, or has gone since."""
        if wanted.present is not None:
            return self._locate_present(wanted.present)
        if wanted.kept is None or wanted.past is None:
            return None
        if wanted.kept.number != NOTHING:
            return stored(wanted.past, wanted.kept)
        if wanted.kept.links > 1:
            return self._locate_linked(wanted.past, wanted.kept)
        return None

    def _locate_present(self, path: bytes) -> Found | None:
        status = status_of(self._root_fd, path)
        if status is None:
            return None
        if status.st_nlink == 1:
            return Found(self._root_fd, path, status, (self._root_fd, path), True)
        with located(self._root_fd, path) as (dir_fd, name):
            identity = self._root_fd, status.st_ino, file_handle(dir_fd, name)
        if (past := self._overwritten.get(identity)) is not None:
            return _stored_by(past)
        return Found(self._root_fd, path, status, (self._root_fd, b"#%d" % status.st_ino), True)

    def _locate_linked(self, past: Past, kept: Kept) -> Found | None:
        """The file that the name was one of: it lives on under another name, or went later and was kept."""
        if (overwritten := self._overwritten.get((past.root_fd, kept.ino, kept.handle))) is not None:
            return _stored_by(overwritten)
        for candidate in self._stored.get((past.root_fd, kept.ino), ()):
            found = _stored_by(candidate)
            if found is not None and _is_same_file(found, kept):
                return found
        for path in self._present_links(past.root_fd).get(kept.ino, ()):
            found = self._locate_present(path)
            if found is not None and found.is_present and _is_same_file(found, kept):
                return found
        return None

    def _present_links(self, root_fd: int) -> dict[int, list[bytes]]:
        """Names of files by inode number, of the whole leg: looked for when the first is asked for."""
        if self._names is None:
            self._names = {}
            places = [b""]
            while places:
                place = places.pop()
                for name in self._present_names(place):
                    path = place + b"/" + name if place else name
                    status = status_of(root_fd, path)
                    if status is None:
                        continue
                    if stat.S_ISDIR(status.st_mode):
                        places.append(path)
                    else:
                        self._names.setdefault(status.st_ino, []).append(path)
        return self._names


def _object_of(past: Past, kept: Kept) -> Object:
    return Object(kept=kept, past=past, is_directory=stat.S_ISDIR(kept.mode))


def _stored_by(past: Past) -> Found | None:
    kept = kept_of(past.record)
    return None if kept is None else stored(past, kept)


def stored(past: Past, kept: Kept) -> Found | None:
    """An object that was kept; None where it is not there, or not as large as it was."""
    path = segments.path_of(past.segment, kept.number)
    status = status_of(past.root_fd, path)
    if status is None or (stat.S_ISREG(status.st_mode) and status.st_size != kept.size):
        return None
    return Found(past.root_fd, path, status, (past.root_fd, path), False)


def _is_same_file(found: Found, kept: Kept) -> bool:
    if not kept.handle:
        return stat.S_IFMT(found.status.st_mode) == stat.S_IFMT(kept.mode)
    with located(found.root_fd, found.path) as (dir_fd, name):
        return file_handle(dir_fd, name) == kept.handle


def status_of(root_fd: int, path: bytes) -> os.stat_result | None:
    """Also of a symbolic link, and None of what is not there."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        fd = open_beneath(root_fd, path, os.O_PATH)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)
    return None
