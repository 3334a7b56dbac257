"""An XFS file system as a tree of inodes."""

from __future__ import annotations

import stat
import uuid
from collections.abc import Iterator

from twinfs.errors import ImageError
from twinfs.images.bounded_cache import BoundedCache
from twinfs.images.protocol import ByteSource, DirectoryEntry, InodeStat
from twinfs.images.xfs import attributes, contents, inode, log, symlink
from twinfs.images.xfs.directory import Directory
from twinfs.images.xfs.disk import Disk
from twinfs.images.xfs.entries import Entry
from twinfs.images.xfs.inode import Format, Inode
from twinfs.images.xfs.mapping import Mapping, leaf_cache
from twinfs.images.xfs.superblock import Superblock

_CACHED_INODES = 4096
_CACHED_EXTENTS = 1 << 16


class XfsFileSystem:
    """One XFS file system, read-only: a `twinfs.images.protocol.FileSystem`. Safe to use from threads.

    Directories are answered as they are written: one that a damaged image links to twice, or to itself, is
    found twice, so who walks the tree keeps count of where it has been.
    """

    kind = "xfs"

    def __init__(self, source: ByteSource, superblock: Superblock) -> None:
        self._disk = Disk(source, superblock)
        self._superblock = superblock
        self._inodes: BoundedCache[int, Inode] = BoundedCache(_CACHED_INODES)
        self._mappings: BoundedCache[int, Mapping] = BoundedCache(_CACHED_EXTENTS)
        self._leaves = leaf_cache()
        self._warnings = tuple(self._find_warnings())
        self._directory(self.root_inode)

    @property
    def label(self) -> str:
        return self._superblock.label.decode("utf-8", "replace")

    @property
    def uuid(self) -> str:
        return str(uuid.UUID(bytes=self._superblock.uuid))

    @property
    def root_inode(self) -> int:
        return self._superblock.root_inode

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._warnings

    def capacity(self) -> tuple[int, int]:
        """Total and free bytes; of a file system that was not unmounted, the free bytes may be old."""
        superblock = self._superblock
        log_blocks = superblock.log_blocks if superblock.log_start else 0
        total = max(superblock.blocks - log_blocks, 0)
        return total << superblock.block_log, min(superblock.free_blocks, total) << superblock.block_log

    def stat(self, inode: int) -> InodeStat:
        return self._inode(inode).stat

    def list(self, inode: int) -> Iterator[DirectoryEntry]:
        """Raises ImageError for a damaged directory, after all that could be read of it.

        Where neither the directory nor the inode says so, an entry's file type is 0.
        """
        for entry in self._directory(inode).entries():
            yield DirectoryEntry(entry.name, entry.inode, entry.file_type or self._type_of(entry))

    def lookup(self, inode: int, name: bytes) -> int | None:
        entry = self._directory(inode).find(name)
        return entry.inode if entry is not None else None

    def read(self, inode: int, offset_bytes: int, length: int) -> bytes:
        """At most 1 GiB at once."""
        found = self._file(inode)
        return contents.read(self._disk, found, self._data_of(found), offset_bytes, length)

    def data_ranges(self, inode: int) -> Iterator[tuple[int, int]]:
        """What is reserved but was never written counts as a hole, as for lseek(2)."""
        found = self._file(inode)
        return contents.ranges(self._disk, found, self._data_of(found))

    def readlink(self, inode: int) -> bytes:
        found = self._inode(inode)
        if not stat.S_ISLNK(found.stat.mode):
            raise ImageError(f"xfs: inode {inode} is no symbolic link")
        return symlink.target(self._disk, found, self._data_of(found) if _has_extents(found) else None)

    def xattrs(self, inode: int) -> dict[bytes, bytes]:
        found = self._inode(inode)
        mapping = None
        if found.attributes is not None and attributes.has_blocks(found.attributes):
            mapping = Mapping(self._disk, self._leaves, inode, found.attributes)
        return attributes.read_all(self._disk, found, mapping)

    def _inode(self, number: int) -> Inode:
        found = self._inodes.get(number)
        if found is None:
            found = inode.read(self._disk, number)
            self._inodes.put(number, found)
        return found

    def _data_of(self, found: Inode) -> Mapping:
        mapping = self._mappings.get(found.number)
        if mapping is None:
            mapping = Mapping(self._disk, self._leaves, found.number, found.data)
            self._mappings.put(found.number, mapping, 1 + mapping.inline_count)
        return mapping

    def _file(self, number: int) -> Inode:
        found = self._inode(number)
        if not stat.S_ISREG(found.stat.mode):
            raise ImageError(f"xfs: inode {number} is no regular file")
        if found.is_realtime:
            raise ImageError(f"xfs: inode {number}: its contents are on a realtime device, which is not read")
        return found

    def _directory(self, number: int) -> Directory:
        found = self._inode(number)
        if not stat.S_ISDIR(found.stat.mode):
            raise ImageError(f"xfs: inode {number} is no directory")
        return Directory(self._disk, found, self._data_of(found) if _has_extents(found) else None)

    def _type_of(self, entry: Entry) -> int:
        """Directories of old file systems do not say what their entries are."""
        try:
            return stat.S_IFMT(self._inode(entry.inode).stat.mode)
        except ImageError:
            return 0

    def _find_warnings(self) -> Iterator[str]:
        superblock = self._superblock
        if superblock.size_bytes > self._disk.size_bytes:
            missing = superblock.size_bytes - self._disk.size_bytes
            yield f"the image is cut off: {missing} of {superblock.size_bytes} bytes are missing"
        if superblock.needs_repair:
            yield "it is marked as damaged, in need of xfs_repair"
        if superblock.has_realtime:
            yield "it has a realtime device; files with their contents there cannot be read"
        said_of_log = log.warning(self._disk)
        if said_of_log is not None:
            yield said_of_log


def _has_extents(found: Inode) -> bool:
    return found.data.format != Format.LOCAL
