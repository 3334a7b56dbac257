"""What was changed, as a list. Of the image itself nothing is asked: the overlay knows."""

from __future__ import annotations

import stat
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from twinfs.images.overlay import contents
from twinfs.images.overlay.entries import Entries, Entry
from twinfs.images.overlay.objects import Object, Objects
from twinfs.images.overlay.store import Store

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


class ChangeKind(StrEnum):
    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"
    RENAMED = "renamed"


@dataclass(frozen=True, slots=True)
class Change:
    kind: ChangeKind
    path: bytes
    """As a mount shows it, such as /p1/etc/hosts."""
    object: str = ""
    """file, directory, symlink, device, fifo, socket; empty for what was removed."""
    old_path: bytes | None = None
    """Where the image has what was renamed."""
    held_bytes: int = 0
    """Room that its contents take in the overlay."""


class Changes:
    def __init__(self, store: Store) -> None:
        self._store = store
        with store.snapshot():
            self._objects = {found.id: found for found in Objects(store).all()}
            self._entries = Entries(store).all()
        self._of_base = {found.base: found for found in self._objects.values() if found.base is not None}
        self._names: defaultdict[int, list[Entry]] = defaultdict(list)
        self._hidden: set[bytes] = set()
        """Paths in the image that lead to what the image has there no more."""
        for entry in self._entries:
            if entry.object is not None:
                self._names[entry.object].append(entry)
            parent = self._objects.get(entry.parent)
            if parent is not None and parent.base is not None and entry.hides:
                self._hidden.add(parent.base + b"/" + entry.name)

    def all(self) -> list[Change]:
        """By path."""
        found = [*self._of_names(), *self._of_objects()]
        return sorted(found, key=lambda change: change.path)

    def _of_names(self) -> Iterator[Change]:
        for entry in self._entries:
            parent = self._objects.get(entry.parent)
            where = None if parent is None else self._path_of(parent)
            if parent is None or where is None:
                continue
            path = where + b"/" + entry.name
            found = None if entry.object is None else self._objects.get(entry.object)
            if found is not None:
                yield self._put(path, found, is_replaced=bool(entry.hides))
            elif not self._is_elsewhere(parent, entry.name):
                yield Change(ChangeKind.REMOVED, path)

    def _put(self, path: bytes, found: Object, *, is_replaced: bool) -> Change:
        details = (_KINDS.get(stat.S_IFMT(found.mode), "file"),)
        if found.base is not None and found.base in self._hidden and found.base != path:
            return Change(ChangeKind.RENAMED, path, *details, found.base, self._held(found))
        kind = ChangeKind.CHANGED if is_replaced else ChangeKind.ADDED
        return Change(kind, path, *details, None, self._held(found))

    def _is_elsewhere(self, parent: Object, name: bytes) -> bool:
        """Whether what the image has at that name is listed as renamed."""
        moved = None if parent.base is None else self._of_base.get(parent.base + b"/" + name)
        return moved is not None and bool(self._names.get(moved.id))

    def _of_objects(self) -> Iterator[Change]:
        """What still has its name of the image. Of directories the names that changed are listed instead."""
        busy = {entry.parent for entry in self._entries}
        for base, found in self._of_base.items():
            path = self._path_of(found)
            if base in self._hidden or found.id in busy or path is None:
                continue
            kind = _KINDS.get(stat.S_IFMT(found.mode), "file")
            yield Change(ChangeKind.CHANGED, path, kind, None, self._held(found))

    def _held(self, found: Object) -> int:
        if not found.has_bytes:
            return 0
        try:
            return contents.status(self._store, found.id).st_blocks * 512
        except FileNotFoundError:  # removed meanwhile, by whoever has it mounted
            return 0

    # Where things are now

    def _path_of(self, found: Object) -> bytes | None:
        """None: it was removed, or a directory above it."""
        below: list[bytes] = []
        here: Object | None = found
        while here is not None:
            names = [entry for entry in self._names.get(here.id, ()) if entry.parent in self._objects]
            if names:
                below.append(names[0].name)
                here = self._objects[names[0].parent]
                continue
            base = here.base
            here = None
            while base:
                if base in self._hidden:
                    return None
                base, _, name = base.rpartition(b"/")
                below.append(name)
                here = self._of_base.get(base)
                if here is not None:
                    break
            if base is None:
                return None
        return b"".join(b"/" + name for name in reversed(below))
