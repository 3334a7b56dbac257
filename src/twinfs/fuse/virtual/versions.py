"""`.twinfs/versions/` in the volume: what is kept of the past, to look at and to copy from.

Who may look is told by modes, see mirror/versions/shown.py.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

import trio

from twinfs.fsio.copy import read_whole
from twinfs.fuse.virtual.objects import Facts, VirtualDirectory, VirtualFile, VirtualLink, VirtualObject
from twinfs.mirror.versions.shown import (
    Access,
    ShownDirectory,
    ShownFile,
    access_of,
    open_kept,
    shown,
    state_of,
)
from twinfs.mirror.volume import Volume

_T = TypeVar("_T")
_Work = Callable[[], _T]

_GOOD_FOR_SECONDS: Final = 1.0
_UNREADABLE: Final = 0o500
_READING: Final = 0o555
_READING_FILE: Final = 0o444


class Versions:
    """What is shown, made anew when something was kept since, at most once a second."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._lock = trio.Lock()
        self._looked = float("-inf")
        self._state: tuple[tuple[bytes, int], ...] | None = None
        self._top = ShownDirectory()

    async def __call__(self) -> VirtualObject:
        return PastDirectory(self, b"", _facts_of(await self.top()))

    async def top(self) -> ShownDirectory:
        async with self._lock:
            if time.monotonic() - self._looked >= _GOOD_FOR_SECONDS:
                await self._look()
                self._looked = time.monotonic()
        return self._top

    async def _look(self) -> None:
        roots = self._roots()
        state = await self._call(partial(state_of, roots))
        if state != self._state:
            self._top = await self._call(partial(shown, roots))
            self._state = state

    def _roots(self) -> list[int]:
        return [fd for _, fd in self._volume.open_legs()]

    async def find(self, path: bytes) -> ShownDirectory | None:
        found: ShownDirectory | None = await self.top()
        for name in path.split(b"/") if path else ():
            found = None if found is None else found.directories.get(name)
        return found

    async def _call(self, work: _Work[_T]) -> _T:
        """In a thread that may hang with the secondary's disk."""
        core = self._volume.core
        if core.is_secondary_up:
            return await core.attachment.call(work)
        return await trio.to_thread.run_sync(work)

    async def objects(self, files: Sequence[tuple[bytes, ShownFile]]) -> list[tuple[bytes, VirtualObject]]:
        """The files, and who may read each."""
        roots = [(name, file, self._root_of(file)) for name, file in files]

        def look() -> list[tuple[bytes, VirtualObject]]:
            return [(name, _object_of(self, file, access_of(root_fd, file))) for name, file, root_fd in roots]

        return await self._call(look) if roots else []

    async def read(self, file: ShownFile, offset: int, size: int) -> bytes:
        return await self._call(partial(_read, self._root_of(file), file, offset, size))

    def _root_of(self, file: ShownFile) -> int:
        roots = self._roots()
        if file.leg >= len(roots):
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return roots[file.leg]


@dataclass(frozen=True)
class PastDirectory(VirtualDirectory):
    """What was below one path."""

    versions: Versions = field(compare=False)
    path: bytes
    seen: Facts

    is_replaced = True

    def facts(self) -> Facts:
        return self.seen

    async def find(self, name: bytes) -> VirtualObject | None:
        here = await self.versions.find(self.path)
        if here is None:
            return None
        if name in here.directories:
            return self._directory(name, here.directories[name])
        if name not in here.files:
            return None
        [(_, found)] = await self.versions.objects([(name, here.files[name])])
        return found

    async def entries(self) -> Sequence[tuple[bytes, VirtualObject]]:
        here = await self.versions.find(self.path)
        if here is None:
            return []
        found: list[tuple[bytes, VirtualObject]] = [
            (name, self._directory(name, below)) for name, below in here.directories.items()
        ]
        files = [(name, file) for name, file in here.files.items() if name not in here.directories]
        return found + await self.versions.objects(files)

    def _directory(self, name: bytes, below: ShownDirectory) -> PastDirectory:
        path = self.path + b"/" + name if self.path else name
        return PastDirectory(self.versions, path, _facts_of(below))


@dataclass(frozen=True)
class PastFile(VirtualFile):
    """A file as it was."""

    versions: Versions = field(compare=False)
    file: ShownFile
    access: Access

    is_replaced = True

    def __hash__(self) -> int:
        return hash((self.file.leg, self.file.segment, self.file.kept.number))

    def facts(self) -> Facts:
        return _facts_of_file(self.file, self.access)

    async def read(self, offset: int, size: int) -> bytes:
        return await self.versions.read(self.file, offset, size)


@dataclass(frozen=True)
class PastLink(VirtualLink):
    """A symbolic link as it was."""

    versions: Versions = field(compare=False)
    file: ShownFile
    access: Access

    is_replaced = True

    def __hash__(self) -> int:
        return hash((self.file.leg, self.file.segment, self.file.kept.number))

    def facts(self) -> Facts:
        return _facts_of_file(self.file, self.access)

    async def target(self) -> bytes:
        return self.file.target


def _facts_of(directory: ShownDirectory) -> Facts:
    if directory.like is None:
        return Facts(stat.S_IFDIR | _UNREADABLE, 0, directory.newest_ns, os.geteuid(), os.getegid())
    like = directory.like
    mode = stat.S_IFDIR | (like.mode & _READING)
    return Facts(mode, 0, directory.newest_ns, like.uid, like.gid)


def _object_of(versions: Versions, file: ShownFile, access: Access) -> VirtualObject:
    if stat.S_ISLNK(file.kept.mode):
        return PastLink(versions, file, access)
    return PastFile(versions, file, access)


def _facts_of_file(file: ShownFile, access: Access) -> Facts:
    kept, mode = file.kept, access.mode
    mode = mode if stat.S_ISLNK(mode) else stat.S_IFMT(mode) | (mode & _READING_FILE)
    return Facts(mode, kept.size, kept.mtime_ns, access.uid, access.gid)


def _read(root_fd: int, file: ShownFile, offset: int, size: int) -> bytes:
    fd = open_kept(root_fd, file)
    try:
        buffer = bytearray(size)
        return bytes(buffer[: read_whole(fd, memoryview(buffer), offset)])
    finally:
        os.close(fd)
