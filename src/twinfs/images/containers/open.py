"""Opens an image file down to the disk in it, through as many containers as there are."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.containers.beside import Beside
from twinfs.images.containers.recognise import last_sector, recognise
from twinfs.images.containers.snapshots import Snapshot, snapshots_of
from twinfs.images.protocol import ByteSource
from twinfs.images.sources import CachedSource, FileSource, JoinedSource
from twinfs.images.sources.nbd import NbdSource

_MAX_DEPTH: Final = 4
_MAX_PARTS: Final = 10_000
_EWF_CACHE_BYTES: Final = 32 << 20


@dataclass(slots=True)
class Disk:
    """A disk as its guest saw it. Close it when done."""

    containers: tuple[str, ...]
    """From the outside in, such as ("xz", "qcow2"); ("raw",) for a plain image."""
    source: ByteSource
    files: tuple[FileSource | NbdSource, ...]
    beside: Beside | None
    warnings: tuple[str, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    """What a qcow2 keeps of itself, where the disk lies in one."""

    @property
    def name(self) -> str:
        return "+".join(self.containers)

    def as_of(self, snapshot: Snapshot) -> Disk:
        """The disk as it was then. Raises ImageError. Close this one, not that."""
        from twinfs.images.explorer import open_container

        name = snapshot.name.decode(errors="backslashreplace")
        source = open_container("qcow2", snapshot.file, name, _opener(self.beside))
        return Disk(self.containers, source, (), None)

    def has_changed(self) -> bool:
        opened = self.beside.opened if self.beside is not None else ()
        return any(file.has_changed() for file in (*self.files, *opened))

    def close(self) -> None:
        for file in self.files:
            file.close()
        if self.beside is not None:
            self.beside.close()


def open_disk(path: str, *, directory_fd: int | None = None) -> Disk:
    """`directory_fd`: of the directory that `path` is a name in, for an image that is read for many users;
    what it needs beside itself must have the same owner, group and mode. Raises ImageError."""
    first = FileSource(path, directory_fd=directory_fd)
    try:
        beside = Beside(path, like=None if directory_fd is None else first, directory_fd=directory_fd)
    except BaseException:
        first.close()
        raise
    try:
        source, kinds = _join(path, first, beside)
        source, kinds, snapshots = _unwrap(source, kinds, os.path.basename(path), beside)
    except BaseException:
        first.close()
        beside.close()
        raise
    warnings = ("its end cannot be read",) if last_sector(source) is None else ()
    return Disk(kinds, source, (first,), beside, warnings, snapshots)


def open_nested(source: ByteSource, name: str) -> Disk:
    """An image within an image: it has nothing beside it. Raises ImageError."""
    source, kinds, snapshots = _unwrap(source, (), name, None)
    return Disk(kinds, source, (), None, snapshots=snapshots)


def _join(path: str, first: FileSource, beside: Beside) -> tuple[ByteSource, tuple[str, ...]]:
    """A first part (.001) with those that follow it; anything else as it is."""
    match = re.fullmatch(r"(.*\.)(0*1)", os.path.basename(path), re.DOTALL)
    if match is None or recognise(first) != "raw":
        return first, ()
    stem, digits = match.groups()
    parts: list[ByteSource] = [first]
    while beside.exists(name := f"{stem}{len(parts) + 1:0{len(digits)}d}"):
        parts.append(beside.open(name))
        if len(parts) > _MAX_PARTS:
            raise ImageError(f"{path}: more than {_MAX_PARTS} parts")
    return (JoinedSource(parts), ("split",)) if len(parts) > 1 else (first, ())


def _unwrap(
    source: ByteSource, kinds: tuple[str, ...], name: str, beside: Beside | None
) -> tuple[ByteSource, tuple[str, ...], tuple[Snapshot, ...]]:
    snapshots: tuple[Snapshot, ...] = ()
    # Not above: the library costs a tenth of a second, which a raw image need not pay.
    for _ in range(_MAX_DEPTH):
        kind = recognise(source)
        if kind == "raw":
            return source, kinds or ("raw",), snapshots
        if kind == "ewf2":
            raise ImageError(f"{name}: Ex01 images cannot be read here; E01 can")
        if kind == "ewf":
            from twinfs.images.containers.ewf import EwfSource

            ewf = EwfSource(source, name, _opener(beside))
            count = max(4, _EWF_CACHE_BYTES // ewf.chunk_bytes)
            source = CachedSource(ewf, block_bytes=ewf.chunk_bytes, block_count=count)
            kinds = (*kinds, kind)
            continue
        if kind == "gzip":
            from twinfs.images.containers.gzip import GzipSource

            source, kinds = (
                CachedSource(GzipSource(source), block_bytes=256 << 10, block_count=128),
                (
                    *kinds,
                    kind,
                ),
            )
            continue
        from twinfs.images.explorer import open_container

        snapshots = snapshots_of(source) if kind == "qcow2" else ()
        source = open_container(kind, source, name, _opener(beside))
        kinds = (*kinds, kind)
    raise ImageError(f"{name}: more than {_MAX_DEPTH} containers within each other")


def _opener(beside: Beside | None) -> Callable[[str], ByteSource]:
    def refuse(name: str) -> ByteSource:
        raise ImageError(f"the image needs {name!r} beside it, and lies within another image")

    return refuse if beside is None else beside.open
