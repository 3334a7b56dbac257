"""A file system read by the library, as our protocol wants it."""

from __future__ import annotations

import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from twinfs.errors import ImageError
from twinfs.images.escapes import escaped
from twinfs.images.explorer import acl
from twinfs.images.explorer.contained import chosen
from twinfs.images.explorer.kinds import Kind, kind_of
from twinfs.images.explorer.library import (
    EntryType,
    ImageFile,
    Node,
    RandomAccess,
    SourceAccess,
    StreamFactory,
    Tree,
    VolumeSet,
    guarded,
    make_context,
    open_with,
)
from twinfs.images.explorer.names import to_bytes, to_text
from twinfs.images.probes import Found
from twinfs.images.protocol import ByteSource, DirectoryEntry, Extents, InodeStat

_MAX_READ_BYTES: Final = 16 << 20
_MAX_OPEN_FILES: Final = 64
_MAX_XATTR_BYTES: Final = 64 << 10
"""XATTR_SIZE_MAX: the kernel can hand over no more."""
_TYPE_BITS: Final = {
    EntryType.FILE: stat.S_IFREG,
    EntryType.HARDLINK: stat.S_IFREG,
    EntryType.DIR: stat.S_IFDIR,
    EntryType.VOLUME: stat.S_IFDIR,
    EntryType.SYMLINK: stat.S_IFLNK,
    EntryType.CHAR_DEVICE: stat.S_IFCHR,
    EntryType.BLOCK_DEVICE: stat.S_IFBLK,
    EntryType.FIFO: stat.S_IFIFO,
    EntryType.SOCKET: stat.S_IFSOCK,
    EntryType.OTHER: stat.S_IFREG,
}
_NODES: Final = (EntryType.CHAR_DEVICE, EntryType.BLOCK_DEVICE)


def open_file_system(source: ByteSource, found: Found, place: int = 0) -> ExplorerFileSystem | None:
    """None: no driver for that kind is here. Raises ImageError where it is damaged."""
    kind = kind_of(found.kind)
    if kind is None:
        return None
    with guarded(found.kind):
        access = SourceAccess(source)
        tree = open_with(kind.load(), access, make_context())
        if isinstance(tree, VolumeSet):
            tree = chosen(tree, place)
        if not isinstance(tree, Tree):
            raise ImageError(f"{found.kind}: no file tree in it")
        # Not before: where the end is, is what opening looks for.
        access.must_have_all = True
        return ExplorerFileSystem(tree, kind, found)


class ExplorerFileSystem:
    """Threads may share it; the library's readers keep no position."""

    def __init__(self, tree: Tree, kind: Kind, found: Found) -> None:
        self._tree = tree
        self._kind = kind
        self._found = found
        self._numbers = kind.number(tree)
        self._open: OrderedDict[int, RandomAccess] = OrderedDict()
        self._lock = threading.Lock()
        self.kind = found.kind
        self.is_case_sensitive = kind.is_case_sensitive
        self.label = found.label or (tree.volume_label() or "")
        self.uuid = found.uuid
        self.root_inode = self._numbers.root
        self.warnings = (*found.warnings, *kind.notes)

    def capacity(self) -> tuple[int, int]:
        return self._found.total_bytes, self._found.free_bytes or 0

    # Names

    def _name(self, node: Node) -> bytes:
        return escaped(to_bytes(node.name, is_utf16=self._kind.is_utf16))

    def list(self, inode: int) -> Iterator[DirectoryEntry]:
        for entry, _ in self.list_with_stat(inode):
            yield entry

    def list_with_stat(self, inode: int) -> Iterator[tuple[DirectoryEntry, InodeStat]]:
        with guarded(f"{self.kind}: directory {inode}"):
            for number, node in self._numbers.children(inode):
                found = self._stat_of(number, node)
                yield DirectoryEntry(self._name(node), number, stat.S_IFMT(found.mode)), found

    def lookup(self, inode: int, name: bytes) -> int | None:
        with guarded(f"{self.kind}: directory {inode}"):
            try:
                found = self._numbers.lookup(inode, to_text(name, is_utf16=self._kind.is_utf16))
            except UnicodeDecodeError:
                return None
            if found is not None and self._is_same(name, self._name(found[1])):
                return found[0]
            if b"%" not in name:
                return None
            # It may be one that `list` wrote in hexadecimal.
            return next(
                (number for number, node in self._numbers.children(inode) if self._name(node) == name), None
            )

    def _is_same(self, asked: bytes, found: bytes) -> bool:
        """The library also finds what is equal after Unicode normalisation; Linux does not."""
        return asked == found or not self._kind.is_case_sensitive

    # Attributes

    def stat(self, inode: int) -> InodeStat:
        with guarded(f"{self.kind}: inode {inode}"):
            return self._stat_of(inode, self._numbers.node(inode))

    def _stat_of(self, number: int, node: Node) -> InodeStat:
        mode = stat.S_IMODE(node.mode or 0) | _TYPE_BITS[node.type]
        size = max(0, node.size or 0)
        if size > 1 << 62:
            raise ImageError(f"{self.kind}: inode {number} claims {size} bytes")
        mtime = node.mtime_ns or 0
        stored = size if node.stored_size is None else node.stored_size
        return InodeStat(
            inode=number,
            mode=mode,
            link_count=node.nlink or (2 if node.type is EntryType.DIR else 1),
            uid=node.uid or 0,
            gid=node.gid or 0,
            device=_device(node, self._kind) if node.type in _NODES else 0,
            size_bytes=size,
            blocks=-(-max(0, stored) // 512),
            atime_ns=mtime if node.atime_ns is None else node.atime_ns,
            mtime_ns=mtime,
            ctime_ns=mtime if node.ctime_ns is None else node.ctime_ns,
            birth_ns=node.btime_ns,
        )

    def readlink(self, inode: int) -> bytes:
        with guarded(f"{self.kind}: symbolic link {inode}"):
            target = self._tree.readlink(self._numbers.node(inode))
            if target is None:
                raise ImageError(f"{self.kind}: inode {inode} is no symbolic link")
            return to_bytes(target, is_utf16=self._kind.is_utf16).replace(b"\0", b"")

    def xattrs(self, inode: int) -> dict[bytes, bytes]:
        with guarded(f"{self.kind}: extended attributes of inode {inode}"):
            found: dict[bytes, bytes] = {}
            for name, value in self._tree.xattrs(self._numbers.node(inode)).items():
                key = self._kind.xattr_prefix + to_bytes(name, is_utf16=self._kind.is_utf16)
                if len(value) > _MAX_XATTR_BYTES or len(key) > 255 or b"\0" in key:
                    continue
                if self._kind.has_ext_acls and key in acl.NAMES:
                    converted = acl.to_kernel_form(value)
                    if converted is None:
                        continue
                    value = converted
                found[key] = value
            return found

    # Contents

    def _data(self, inode: int) -> RandomAccess:
        with self._lock:
            known = self._open.get(inode)
            if known is not None:
                self._open.move_to_end(inode)
                return known
        opened = self._tree.open_file(self._numbers.node(inode))
        data = opened if isinstance(opened, RandomAccess) else _Stream(opened)
        with self._lock:
            self._open[inode] = data
            if len(self._open) > _MAX_OPEN_FILES:
                self._open.popitem(last=False)
        return data

    def read(self, inode: int, offset_bytes: int, length: int) -> bytes:
        with guarded(f"{self.kind}: inode {inode} at byte {offset_bytes}"):
            data = self._data(inode)
            return data.read_at(offset_bytes, max(0, min(length, _MAX_READ_BYTES, data.size - offset_bytes)))

    def data_ranges(self, inode: int) -> Iterator[tuple[int, int]]:
        with guarded(f"{self.kind}: inode {inode}"):
            data = self._data(inode)
            known = data.data_ranges()
            if known is None:
                known = [(0, data.size)] if data.size else []
            yield from known

    def extents(self, inode: int) -> Extents | None:
        with guarded(f"{self.kind}: inode {inode}"):
            data = self._data(inode)
            pieces = data.physical_ranges(0, data.size)
            if pieces is None:
                return None
            found, at = [], 0
            for descriptor, start, count in pieces:
                if descriptor is not None:
                    found.append((at, start, count))
                at += count
            return found


class _Stream(RandomAccess):
    """A file that the library can only decode from its start (some of macOS's compressions)."""

    def __init__(self, factory: StreamFactory) -> None:
        self._file = ImageFile(factory)
        self._lock = threading.Lock()
        self.size = factory.size or 0

    def read_at(self, off: int, n: int) -> bytes:
        with self._lock:
            self._file.seek(off)
            return self._file.read(n)


def _device(node: Node, kind: Kind) -> int:
    numbers = node.extra.get("rdev")
    if isinstance(numbers, int) and kind.has_mac_devices:
        numbers = (numbers >> 24 & 0xFF, numbers & 0xFFFFFF)
    if isinstance(numbers, int):
        return numbers
    if not isinstance(numbers, tuple):
        return 0
    major, minor = numbers
    if kind.has_packed_devices and major == 0:
        return int(minor)
    # As makedev(3): os.makedev() refuses what does not fit and would end the listing.
    high = (major & 0xFFFFF000) << 32 | (minor & 0xFFFFFF00) << 12
    return int(high | (major & 0xFFF) << 8 | minor & 0xFF)
