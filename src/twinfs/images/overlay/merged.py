"""An image with its changes as one tree, for commands: what a mount with the overlay would show."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.overlay import contents
from twinfs.images.overlay.entries import Entries
from twinfs.images.overlay.objects import Object, Objects
from twinfs.images.overlay.store import Store
from twinfs.images.protocol import DirectoryEntry, InodeStat
from twinfs.images.worker.remote import RemoteTree

_CHANGED: Final = 1 << 62
"""In an inode number: the rest is an object's number. Without it, it is the image's own inode."""


class MergedTree:
    """Read-only. Raises ImageError. Nobody may change the overlay meanwhile: `store` holds its lock."""

    kind = "image"
    label = ""
    uuid = ""
    warnings: tuple[str, ...] = ()

    def __init__(self, base: RemoteTree, store: Store) -> None:
        self._base = base
        self._store = store
        self._objects = Objects(store)
        self._entries = Entries(store)
        self._paths: dict[int, bytes] = {base.root_inode: b""}
        """Of the image's directories that were seen."""
        self.root_inode = base.root_inode
        self._links = {self._base_number(found): found.id for found in self._objects.linked()}

    def _base_number(self, found: Object) -> int:
        assert found.base is not None
        number = self._base.root_inode
        for name in found.base.split(b"/")[1:]:
            following = self._base.lookup_exact(number, name)
            if following is None:
                raise ImageError(f"{found.base.decode(errors='backslashreplace')}: not in the image")
            number = following
        return number

    def _object(self, inode: int) -> Object | None:
        """None for what is as it is in the image."""
        return self._objects.get(inode & ~_CHANGED) if inode & _CHANGED else None

    def capacity(self) -> tuple[int, int]:
        return self._base.capacity()

    # Names

    def list(self, inode: int) -> Iterator[DirectoryEntry]:
        for entry, _ in self.list_with_stat(inode):
            yield entry

    def list_with_stat(self, inode: int) -> Iterator[tuple[DirectoryEntry, InodeStat]]:
        changed = self._object(inode)
        put = [] if changed is None else self._entries.of(changed.id)
        hidden = {entry.name for entry in put}
        if changed is None or changed.base is not None:
            number = inode if changed is None else self._base_number(changed)
            path = self._paths.get(inode) if changed is None else changed.base
            for entry, found in self._base.list_with_stat(number):
                if entry.name not in hidden:
                    yield self._seen(path, entry.name, found)
        for each in put:
            if each.object is not None:
                found = self._stat_of(self._objects.get(each.object))
                yield DirectoryEntry(each.name, found.inode, stat.S_IFMT(found.mode)), found

    def _seen(self, parent: bytes | None, name: bytes, found: InodeStat) -> tuple[DirectoryEntry, InodeStat]:
        """`parent` is None within an image in the image: nothing was changed there."""
        if parent is not None:
            changed = self._changed(parent + b"/" + name, found)
            if changed is not None:
                found = self._stat_of(changed)
            elif stat.S_ISDIR(found.mode):
                self._paths[found.inode] = parent + b"/" + name
        return DirectoryEntry(name, found.inode, stat.S_IFMT(found.mode)), found

    def _changed(self, path: bytes, found: InodeStat) -> Object | None:
        if found.link_count > 1 and found.inode in self._links:
            return self._objects.get(self._links[found.inode])
        return self._objects.of_base(path)

    def lookup(self, inode: int, name: bytes) -> int | None:
        changed = self._object(inode)
        put = None if changed is None else self._entries.find(changed.id, name)
        if put is not None:
            return None if put.object is None else _CHANGED | put.object
        if changed is not None and changed.base is None:
            return None
        number = inode if changed is None else self._base_number(changed)
        found = self._base.lookup_exact(number, name)
        if found is None:
            return None
        path = self._paths.get(inode) if changed is None else changed.base
        return self._seen(path, name, self._base.stat(found))[1].inode

    # Attributes

    def stat(self, inode: int) -> InodeStat:
        changed = self._object(inode)
        return self._base.stat(inode) if changed is None else self._stat_of(changed)

    def _stat_of(self, found: Object) -> InodeStat:
        size = contents.status(self._store, found.id).st_size if found.has_bytes else found.size
        owner = (found.uid, found.gid, found.device)
        times = (found.atime, found.mtime, found.ctime)
        return InodeStat(_CHANGED | found.id, found.mode, found.links, *owner, size, -(-size // 512), *times)

    def readlink(self, inode: int) -> bytes:
        changed = self._object(inode)
        return self._base.readlink(inode) if changed is None else changed.target

    def xattrs(self, inode: int) -> dict[bytes, bytes]:
        changed = self._object(inode)
        return self._base.xattrs(inode) if changed is None else self._objects.xattrs(changed.id)

    # Contents

    def read(self, inode: int, offset_bytes: int, length: int) -> bytes:
        """Fewer bytes than asked only at the end, or where another run of pieces begins."""
        changed = self._object(inode)
        if changed is None:
            return self._base.read(inode, offset_bytes, length)
        if not changed.has_bytes:
            length = max(0, min(length, changed.size - offset_bytes))
            return self._base.read(self._base_number(changed), offset_bytes, length) if length else b""
        own = contents.Bytes(self._store, changed)
        try:
            end = min(offset_bytes + length, own.size_bytes)
            for start, stop, is_here in own.runs(offset_bytes, end):
                if is_here:
                    return own.read(start, stop - start)
                return self._base.read(self._base_number(changed), start, stop - start)
            return b""
        finally:
            own.close()

    def data_ranges(self, inode: int) -> Iterator[tuple[int, int]]:
        changed = self._object(inode)
        if changed is None or not changed.has_bytes:
            number = inode if changed is None else self._base_number(changed)
            yield from self._base.data_ranges(number)
            return
        own = contents.Bytes(self._store, changed)
        try:
            of_base = list(self._base.data_ranges(self._base_number(changed))) if changed.base_limit else []
            for start, stop, is_here in own.runs(0, own.size_bytes):
                for first, last in (
                    own.data_ranges(start, stop) if is_here else _clipped(of_base, start, stop)
                ):
                    yield first, last - first
        finally:
            own.close()


def _clipped(ranges: list[tuple[int, int]], start: int, stop: int) -> Iterator[tuple[int, int]]:
    for offset, length in ranges:
        first, last = max(offset, start), min(offset + length, stop)
        if first < last:
            yield first, last
