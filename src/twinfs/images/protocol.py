"""What the layers of an image say to each other.

    image file -> container -> partition table -> file system -> tree

A container and a partition are both a `ByteSource`: a window of bytes. A file system reads one and
answers as a `FileSystem`, by inode number. All of it is untrusted input: every reader is bounded,
proof against cycles, and raises nothing but `ImageError`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeAlias, runtime_checkable

import msgspec

from twinfs.errors import ImageError

# Structs, not dataclasses: one of each is made for every file that is listed, and these cost a twentieth.


class InodeStat(msgspec.Struct, frozen=True, gc=False):
    """What stat(2) says of an object in an image. Times are nanoseconds since 1970, and may be negative."""

    inode: int
    mode: int
    """Type and permission bits, as in st_mode."""
    link_count: int
    uid: int
    gid: int
    device: int
    """st_rdev of device nodes, else 0."""
    size_bytes: int
    blocks: int
    """Of 512 bytes, as st_blocks."""
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    birth_ns: int | None = None


class DirectoryEntry(msgspec.Struct, frozen=True, gc=False):
    """A name in a directory. Without `.` and `..`; a name is never empty and holds no `/` and no NUL."""

    name: bytes
    inode: int
    file_type: int
    """S_IFMT bits, as in st_mode."""


class ByteSource(Protocol):
    """A window of bytes: an image file, what a container holds, a partition. Safe to use from threads."""

    @property
    def size_bytes(self) -> int: ...

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        """Up to `length` bytes; fewer only where the source ends. Raises ImageError."""
        ...

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        """(offset, length) of what may not be zeros, ascending, clipped to what was asked for."""
        ...


class FileSystem(Protocol):
    """One file system in a window of bytes, read-only, by inode number.

    Numbers stay the same while it is open. Every method raises ImageError for what cannot be read.
    """

    @property
    def kind(self) -> str:
        """As blkid names it: ext4, xfs, vfat, ntfs..."""
        ...

    @property
    def label(self) -> str: ...

    @property
    def uuid(self) -> str:
        """As blkid prints it; empty where there is none."""
        ...

    @property
    def root_inode(self) -> int: ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know: a dirty journal, a damaged backup structure."""
        ...

    def capacity(self) -> tuple[int, int]:
        """Total and free bytes."""
        ...

    def stat(self, inode: int) -> InodeStat: ...

    def list(self, inode: int) -> Iterator[DirectoryEntry]: ...

    def lookup(self, inode: int, name: bytes) -> int | None:
        """The inode of a name in a directory, by the file system's own rules of case; None: no such name."""
        ...

    def read(self, inode: int, offset_bytes: int, length: int) -> bytes:
        """A regular file's bytes; fewer than asked only at its end. Holes read as zeros."""
        ...

    def data_ranges(self, inode: int) -> Iterator[tuple[int, int]]:
        """(offset, length) in bytes of a regular file's parts that are not holes, ascending."""
        ...

    def readlink(self, inode: int) -> bytes: ...

    def xattrs(self, inode: int) -> dict[bytes, bytes]:
        """Full names (`user.x`), in the form the kernel's getxattr(2) would give them."""
        ...


@runtime_checkable
class ListsWithStat(Protocol):
    """A file system that finds attributes sooner for a whole directory than name by name."""

    def list_with_stat(self, inode: int) -> Iterator[tuple[DirectoryEntry, InodeStat]]:
        """As `list`, with what `stat` would say. Entries whose attributes cannot be read are left out."""
        ...


Extents: TypeAlias = list[tuple[int, int, int]]
"""(offset in a file, offset where its bytes lie, length), ascending; what is between reads as zeros."""


@runtime_checkable
class Mapped(Protocol):
    """A file system that can tell where a file's bytes lie in its own window, plain."""

    def extents(self, inode: int) -> Extents | None:
        """With offsets in the window.

        None: some of it is compressed, encrypted or kept elsewhere; read it through `read`.
        """
        ...


@runtime_checkable
class Physical(Protocol):
    """A window whose bytes lie, as they are, in one image file."""

    def physical(self, offset_bytes: int, length: int) -> tuple[int, int] | None:
        """(offset in the image file, length) of as much as lies there in one piece."""
        ...


def physical_of(source: ByteSource, offset_bytes: int, length: int) -> tuple[int, int] | None:
    """`Physical.physical` of a window that may have none."""
    return source.physical(offset_bytes, length) if isinstance(source, Physical) else None


def entries_with_stat(system: FileSystem, own: int) -> Iterator[tuple[DirectoryEntry, InodeStat]]:
    if isinstance(system, ListsWithStat):
        yield from system.list_with_stat(own)
        return
    for entry in system.list(own):
        try:
            yield entry, system.stat(entry.inode)
        except ImageError:
            # Listed all the same, with what the entry itself tells.
            yield entry, InodeStat(entry.inode, entry.file_type, 1, 0, 0, 0, 0, 0, 0, 0, 0)
