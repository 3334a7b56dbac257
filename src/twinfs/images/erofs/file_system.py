"""An EROFS file system as a tree of inodes."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.bounded_cache import BoundedCache
from twinfs.images.erofs import directory, inode, plain, xattrs
from twinfs.images.erofs.compressed import CompressedFile
from twinfs.images.erofs.inode import Inode, Layout
from twinfs.images.erofs.superblock import Disk
from twinfs.images.protocol import DirectoryEntry, Extents, InodeStat

_CACHED_INODES: Final = 4096
_CACHED_FILES: Final = 64
_CACHED_BYTES: Final = 32 << 20
_CACHED_NAMES: Final = 100_000
_MAX_READ_BYTES: Final = 16 << 20
_MAX_LINK_BYTES: Final = 4096
_COMPRESSED: Final = (Layout.COMPRESSED_FULL, Layout.COMPRESSED_COMPACT)


class ErofsFileSystem:
    """A `twinfs.images.protocol.FileSystem`. Threads may share it."""

    kind = "erofs"

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._inodes: BoundedCache[int, Inode] = BoundedCache(_CACHED_INODES)
        self._files: BoundedCache[int, CompressedFile] = BoundedCache(_CACHED_FILES)
        self._extents: BoundedCache[tuple[int, int], bytes] = BoundedCache(_CACHED_BYTES)
        self._names: BoundedCache[int, dict[bytes, int]] = BoundedCache(_CACHED_NAMES)
        self.label, self.uuid, self.root_inode = disk.label, disk.uuid, disk.root
        missing = disk.size_bytes - disk.source.size_bytes
        said = f"the image is cut off: {missing} of {disk.size_bytes} bytes are missing"
        self.warnings: tuple[str, ...] = (said,) if missing > 0 else ()
        if not stat.S_ISDIR(self._inode(self.root_inode).stat.mode):
            raise ImageError("erofs: its top is no directory")

    def capacity(self) -> tuple[int, int]:
        return self._disk.size_bytes, 0

    def _inode(self, number: int) -> Inode:
        found = self._inodes.get(number)
        if found is None:
            found = inode.read(self._disk, number)
            self._inodes.put(number, found)
        return found

    def _of_type(self, number: int, kind: int, name: str) -> Inode:
        found = self._inode(number)
        if stat.S_IFMT(found.stat.mode) != kind:
            raise ImageError(f"erofs: inode {number} is no {name}")
        return found

    def stat(self, inode: int) -> InodeStat:
        return self._inode(inode).stat

    def list(self, inode: int) -> Iterator[DirectoryEntry]:
        found = self._of_type(inode, stat.S_IFDIR, "directory")

        def read(offset_bytes: int, length: int) -> bytes:
            return self._read(found, offset_bytes, length)

        for entry in directory.entries(inode, found.stat.size_bytes, self._disk.block_bytes, read):
            kind = entry.file_type or stat.S_IFMT(self._inode(entry.inode).stat.mode)
            yield DirectoryEntry(entry.name, entry.inode, kind)

    def lookup(self, inode: int, name: bytes) -> int | None:
        names = self._names.get(inode)
        if names is None:
            names = {entry.name: entry.inode for entry in self.list(inode)}
            self._names.put(inode, names, 1 + len(names))
        return names.get(name)

    def readlink(self, inode: int) -> bytes:
        found = self._of_type(inode, stat.S_IFLNK, "symbolic link")
        if found.stat.size_bytes > _MAX_LINK_BYTES:
            raise ImageError(f"erofs: symbolic link {inode} claims {found.stat.size_bytes} bytes")
        return self._read(found, 0, found.stat.size_bytes).replace(b"\0", b"")

    def xattrs(self, inode: int) -> dict[bytes, bytes]:
        return xattrs.read_all(self._disk, self._inode(inode))

    # Contents

    def read(self, inode: int, offset_bytes: int, length: int) -> bytes:
        return self._read(self._of_type(inode, stat.S_IFREG, "regular file"), offset_bytes, length)

    def data_ranges(self, inode: int) -> Iterator[tuple[int, int]]:
        found = self._of_type(inode, stat.S_IFREG, "regular file")
        size = found.stat.size_bytes
        if found.layout in _COMPRESSED:
            if size:
                yield 0, size
            return
        for start, _, length in plain.pieces(self._disk, found, 0, size):
            yield start, length

    def extents(self, inode: int) -> Extents | None:
        found = self._of_type(inode, stat.S_IFREG, "regular file")
        if found.layout in _COMPRESSED:
            return None
        return list(plain.pieces(self._disk, found, 0, found.stat.size_bytes))

    def _read(self, found: Inode, offset_bytes: int, length: int) -> bytes:
        end = min(offset_bytes + min(length, _MAX_READ_BYTES), found.stat.size_bytes)
        if offset_bytes < 0 or end <= offset_bytes:
            return b""
        made = bytearray(end - offset_bytes)
        if found.layout in _COMPRESSED:
            self._read_compressed(found, offset_bytes, made)
            return bytes(made)
        what = f"inode {found.number}"
        for start, place, count in plain.pieces(self._disk, found, offset_bytes, end):
            made[start - offset_bytes : start - offset_bytes + count] = self._disk.read(place, count, what)
        return bytes(made)

    def _read_compressed(self, found: Inode, offset_bytes: int, made: bytearray) -> None:
        file = self._files.get(found.number)
        if file is None:
            file = CompressedFile(self._disk, found)
            self._files.put(found.number, file)
        at, end = offset_bytes, offset_bytes + len(made)
        while at < end:
            extent = file.extent_at(at)
            data = self._extents.get((found.number, extent.start))
            if data is None:
                data = file.data_of(extent)
                self._extents.put((found.number, extent.start), data, len(data))
            piece = data[at - extent.start : end - extent.start]
            made[at - offset_bytes : at - offset_bytes + len(piece)] = piece
            at += len(piece)
