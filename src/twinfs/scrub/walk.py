"""Both legs together, directory by directory, in order; memory holds one directory's names.

Nothing is locked: what differs here is a suspicion, which somebody who can hold the volume still looks at
again (examine.py). Contents are only noted as to be read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from twinfs.fsio.syscalls import open_beneath
from twinfs.mirror.exclude import Excludes
from twinfs.mirror.label import LABEL_DIRECTORY
from twinfs.scrub.objects import Objects, Row
from twinfs.scrub.store import Store
from twinfs.scrub.todo import Links, Seen, Suspicion, Todo
from twinfs.scrub.views import View, differing, view_at

LEFT_OUT: Final = frozenset((LABEL_DIRECTORY, b"lost+found"))
"""At the root: ours, and fsck's own on each file system."""

_ROOT_IDENT: Final = 1
_WRITTEN_AT_ONCE: Final = 500
_ONLY_TIME: Final = ("mtime",)

Listing = dict[bytes, os.stat_result | None]
"""None for a name whose object the disk does not give."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """An object that both legs have alike."""

    name: bytes
    view: View
    statuses: tuple[os.stat_result, os.stat_result]
    row: Row | None


class Walk:
    """One pass over the metadata of both legs. `suspect` is called with what differs, `is_wanted` decides
    whether a file's content is to be read."""

    def __init__(
        self,
        roots: tuple[int, int],
        store: Store,
        excludes: Excludes,
        suspect: Callable[[Suspicion], None],
        is_wanted: Callable[[Row | None, View], bool],
    ) -> None:
        self._roots = roots
        self._root_status = os.fstat(roots[0])
        self._store = store
        self._objects = Objects(store)
        self._links = Links(store)
        self._todo = Todo(store)
        self._excludes = excludes
        self._suspect = suspect
        self._is_wanted = is_wanted
        self.files = 0

    def run(self, done: bytes | None = None) -> Iterator[bytes]:
        """Directories as they are done. Begins after `done`, the last one of an interrupted walk."""
        last = None if done is None else _order(done)
        pending = [b""]
        while pending:
            path = pending.pop()
            is_done = last is not None and _order(path) <= last
            below = self._directory(path, is_done=is_done)
            if last is not None:
                below = [child for child in below if not _is_wholly_before(_order(child), last)]
            pending.extend(reversed(below))
            if not is_done:
                yield path

    def _directory(self, path: bytes, *, is_done: bool) -> list[bytes]:
        """Look at what is in one directory; returns the directories in it that both legs have."""
        fds: list[int] = []
        try:
            for root in self._roots:
                fds.append(open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY))
            first, second = (self._list(path, fd) for fd in fds)
            if not is_done:
                self._compare(path, (fds[0], fds[1]), first, second)
            names = sorted(
                name for name in first.keys() & second.keys() if _are_directories(first[name], second[name])
            )
            children = (_join(path, name) for name in names)
            return [child for child in children if not self._excludes.matches(child, is_directory=True)]
        except (FileNotFoundError, NotADirectoryError):
            return []  # gone since its own directory was looked at
        except OSError:
            self._suspect(Suspicion(path))
            return []
        finally:
            for fd in fds:
                os.close(fd)

    def _list(self, path: bytes, fd: int) -> Listing:
        found: Listing = {}
        for name in map(os.fsencode, os.listdir(fd)):
            if not path and name in LEFT_OUT:
                continue
            try:
                found[name] = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone since it was listed
            except OSError:
                found[name] = None
        return found

    def _compare(self, path: bytes, fds: tuple[int, int], first: Listing, second: Listing) -> None:
        parent = self._id_of(path)
        known = self._objects.children(parent)
        alike: list[_Entry] = []
        suspects = 0
        for name in sorted(first.keys() | second.keys()):
            row = known.pop(name, None)
            pair = first.get(name), second.get(name)
            child = _join(path, name)
            if self._is_excluded(child, pair):
                continue
            self.files += 1
            is_suspect, entry = self._entry(fds, name, pair, row)
            if is_suspect:
                suspects += 1
                self._suspect(Suspicion(child))
            elif entry is not None:
                alike.append(entry)
        to_read: list[tuple[int, int, _Entry]] = []
        for start in range(0, len(alike), _WRITTEN_AT_ONCE):
            with self._store.transaction():
                for entry in alike[start : start + _WRITTEN_AT_ONCE]:
                    suspects += self._note(path, parent, entry, to_read)
        self._to_read(path, to_read)
        with self._store.transaction():
            for row in known.values():
                self._objects.forget(row.id)
            self._own(path, fds, parent, has_suspects=suspects > 0)

    def _is_excluded(self, path: bytes, pair: tuple[os.stat_result | None, os.stat_result | None]) -> bool:
        status = pair[0] or pair[1]
        is_directory = status is not None and stat.S_ISDIR(status.st_mode)
        return bool(self._excludes) and self._excludes.matches(path, is_directory=is_directory)

    def _entry(
        self,
        fds: tuple[int, int],
        name: bytes,
        pair: tuple[os.stat_result | None, os.stat_result | None],
        row: Row | None,
    ) -> tuple[bool, _Entry | None]:
        """(whether it is suspect, what is to be noted of it)."""
        first, second = pair
        if first is None or second is None:
            return True, None
        if _are_directories(first, second):
            return False, None  # its own turn comes
        try:
            primary, secondary = view_at(fds[0], name, first), view_at(fds[1], name, second)
        except OSError:
            return True, None
        if primary != secondary:
            return True, None
        return False, _Entry(name, primary, (first, second), row)

    def _note(self, path: bytes, parent: int, entry: _Entry, to_read: list[tuple[int, int, _Entry]]) -> bool:
        """Remember what both legs have; True when its links make it suspect."""
        row, view = entry.row, entry.view
        child = _join(path, entry.name)
        identity = self._objects.make(parent, entry.name) if row is None else row.id
        ident = self._ident_of(entry.statuses[0])
        seen = Seen(is_new=True)
        if view.is_file and any(status.st_nlink > 1 for status in entry.statuses):
            seen = self._links.see(child, identity, ident, *entry.statuses)
            # Which names are one file is remembered at the end: it may have to be judged by what it was.
            ident = 0 if row is None else row.ident
        if row is None or row.known.view != view or row.ident != ident:
            self._objects.know_metadata(identity, ident, view)
        if seen.conflict is not None:
            self._suspect(Suspicion(child, seen.conflict))
        if view.is_file and seen.is_new and self._is_wanted(row, view):
            to_read.append((entry.statuses[0].st_ino, identity, entry))
        return seen.conflict is not None

    def _to_read(self, path: bytes, files: list[tuple[int, int, _Entry]]) -> None:
        """In the order of inode numbers: close to that on the disk."""
        files.sort(key=lambda file: file[:2])
        for start in range(0, len(files), _WRITTEN_AT_ONCE):
            with self._store.transaction():
                for _, identity, entry in files[start : start + _WRITTEN_AT_ONCE]:
                    scrubbed_ns = entry.row.scrubbed_ns if entry.row is not None else 0
                    self._todo.add(identity, _join(path, entry.name), entry.view.size, scrubbed_ns)

    def _own(self, path: bytes, fds: tuple[int, int], identity: int, *, has_suspects: bool) -> None:
        """The directory itself. Where names in it differ, its time does: that is one mismatch, not two."""
        statuses = os.fstat(fds[0]), os.fstat(fds[1])
        primary, secondary = (view_at(fd, b".", status) for fd, status in zip(fds, statuses, strict=True))
        fields = differing(primary, secondary)
        if not fields:
            self._objects.know_metadata(identity, self._ident_of(statuses[0]), primary)
        elif not (has_suspects and fields == _ONLY_TIME):
            self._suspect(Suspicion(path))

    def _id_of(self, path: bytes) -> int:
        with self._store.transaction():
            return self._objects.id_of(path)

    def _ident_of(self, status: os.stat_result) -> int:
        """As the intent log names it, see NodeTable.ident_of; 0 where that is of one session only."""
        if status.st_dev != self._root_status.st_dev:
            return 0
        if status.st_ino == self._root_status.st_ino:
            return _ROOT_IDENT
        return self._root_status.st_ino if status.st_ino == _ROOT_IDENT else status.st_ino


def _join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name


def _order(path: bytes) -> list[bytes]:
    """The walk is in the order of these: a directory before what is in it, names sorted."""
    return path.split(b"/") if path else []


def _is_wholly_before(directory: list[bytes], last: list[bytes]) -> bool:
    """Whether all below the directory came before `last` did: it sorts before, and does not hold it."""
    return directory < last and directory != last[: len(directory)]


def _are_directories(first: os.stat_result | None, second: os.stat_result | None) -> bool:
    return all(status is not None and stat.S_ISDIR(status.st_mode) for status in (first, second))
