"""One tree over all of an image: /pN/ for what can be read, /pN.img and /disk.img for tools.

The tree is a `FileSystem` itself, so whoever can show one can show all of an image. Inode numbers are
unique in the whole tree: a volume's place in the upper 16 bits, its file system's own number below. Place 0
is the tree's own files, of the image and of those found within it: a file that is looked into like a
directory is taken for one.
"""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from twinfs.errors import ImageError
from twinfs.images.containers.open import open_nested
from twinfs.images.escapes import escaped
from twinfs.images.protocol import (
    ByteSource,
    DirectoryEntry,
    Extents,
    FileSystem,
    InodeStat,
    Mapped,
    entries_with_stat,
    physical_of,
)
from twinfs.images.volumes import Image, Volume

ROOT: Final = 1
_DISK: Final = 2
_RAW_BASE: Final = 0x1_0000
"""/pN.img is this and N."""
_SNAPSHOT_BASE: Final = 0x80_0000
"""/@NAME is this and the place of the snapshot."""
_IMAGE_SHIFT: Final = 24
_LOCAL_BITS: Final = (1 << _IMAGE_SHIFT) - 1
_MAX_IMAGES: Final = 64
_SHIFT: Final = 48
_OWN_BITS: Final = (1 << _SHIFT) - 1
_MAX_DIRECTORIES: Final = 10_000
"""Remembered to be no images within the image, so that nobody has to look again."""
_MAX_PLACES: Final = 4096
_MAX_READ_BYTES: Final = 16 << 20


class ImageTree:
    """Read-only. Raises nothing but ImageError; threads may share it."""

    kind = "image"
    label = ""
    uuid = ""
    root_inode = ROOT

    def __init__(self, image: Image) -> None:
        self._image = image
        self._images: list[Image] = []
        self._places: dict[int, tuple[Image, Volume]] = {}
        self._nested: dict[int, int] = {}
        self._directories: set[int] = set()
        self._high: dict[tuple[int, int], int] = {}
        self._high_back: dict[int, int] = {}
        self._lock = threading.Lock()
        self._times = _time_of(image)
        self._add(image)

    def _add(self, image: Image) -> int:
        """The inode of its top directory."""
        first = len(self._places) + 1
        # The others are bytes and no more: a table may list thousands.
        readable = [volume for volume in image.volumes if volume.is_readable]
        if first + len(readable) > _MAX_PLACES:
            raise ImageError(f"more than {_MAX_PLACES - 1} file systems")
        if len(self._images) >= _MAX_IMAGES:
            raise ImageError("too many images within the image")
        self._images.append(image)
        for place, volume in enumerate(readable, first):
            self._places[place] = (image, volume)
        return (len(self._images) - 1) << _IMAGE_SHIFT | ROOT

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*self._image.disk.warnings, *self._image.table.warnings)

    def capacity(self) -> tuple[int, int]:
        return self._image.disk.source.size_bytes, 0

    # Numbers

    def _split(self, inode: int) -> tuple[FileSystem, int, int]:
        """The file system an inode is in, its number there, and the place of the volume."""
        place, own = inode >> _SHIFT, inode & _OWN_BITS
        known = self._places.get(place)
        if known is None:
            raise ImageError(f"no inode {inode} is known")
        image, volume = known
        system = image.file_system(volume)
        if own == 0:
            return system, system.root_inode, place
        return system, self._high_back.get(inode, own), place

    def _joined(self, place: int, own: int, system: FileSystem) -> int:
        if own == system.root_inode:
            return place << _SHIFT  # known before the file system is opened
        if 0 < own < 1 << (_SHIFT - 1):
            return place << _SHIFT | own
        # XFS may number up to 2^64; nobody's disk is large enough to need it often.
        with self._lock:
            number = self._high.get((place, own))
            if number is None:
                number = place << _SHIFT | 1 << (_SHIFT - 1) | len(self._high)
                self._high[place, own] = number
                self._high_back[number] = own
            return number

    # Names

    def _top(self, number: int) -> Iterator[tuple[bytes, int, int]]:
        image, base = self._images[number], number << _IMAGE_SHIFT
        yield b"disk.img", base | _DISK, stat.S_IFREG
        places = {id(volume): place for place, (owner, volume) in self._places.items() if owner is image}
        for volume in image.volumes:
            place = places.get(id(volume), 0)
            if place:
                yield volume.name, place << _SHIFT, stat.S_IFDIR
            if volume.has_own_bytes:
                yield volume.name + b".img", base | _RAW_BASE + volume.index, stat.S_IFREG
        for place, snapshot in enumerate(image.disk.snapshots):
            yield b"@" + escaped(snapshot.name), base | _SNAPSHOT_BASE + place, stat.S_IFDIR

    def _image_at(self, inode: int) -> int | None:
        """Which image's top directory an inode is: the image's own, or that of a file which is an image."""
        if inode >> _SHIFT == 0 and inode & _LOCAL_BITS == ROOT:
            return inode >> _IMAGE_SHIFT if inode >> _IMAGE_SHIFT < len(self._images) else None
        if inode in self._directories:
            return None
        known = self._nested.get(inode)
        if known is None and _is_snapshot(inode):
            known = self._add_snapshot(inode)
        if known is None:
            kind = stat.S_IFMT(self.stat(inode).mode)
            if kind != stat.S_IFREG:
                if len(self._directories) > _MAX_DIRECTORIES:
                    self._directories.clear()
                self._directories.add(inode)
                return None
            image = Image(open_nested(_FileWithin(self, inode), "the image within"))
            with self._lock:
                known = self._nested[inode] = self._add(image) >> _IMAGE_SHIFT
        return known

    def _add_snapshot(self, inode: int) -> int:
        number, place = inode >> _IMAGE_SHIFT, (inode & _LOCAL_BITS) - _SNAPSHOT_BASE
        if number >= len(self._images) or place >= len(self._images[number].disk.snapshots):
            raise ImageError(f"no inode {inode} is known")
        disk = self._images[number].disk
        image = Image(disk.as_of(disk.snapshots[place]))
        with self._lock:
            if inode not in self._nested:
                self._nested[inode] = self._add(image) >> _IMAGE_SHIFT
            return self._nested[inode]

    def list(self, inode: int) -> Iterator[DirectoryEntry]:
        top = self._image_at(inode)
        if top is not None:
            for name, number, kind in self._top(top):
                yield DirectoryEntry(name, number, kind)
            return
        system, own, place = self._split(inode)
        for entry in system.list(own):
            yield DirectoryEntry(entry.name, self._joined(place, entry.inode, system), entry.file_type)

    def list_with_stat(self, inode: int) -> Iterator[tuple[DirectoryEntry, InodeStat]]:
        if self._image_at(inode) is not None:
            for entry in self.list(inode):
                yield entry, self.stat(entry.inode)
            return
        system, own, place = self._split(inode)
        for entry, found in entries_with_stat(system, own):
            number = self._joined(place, entry.inode, system)
            yield DirectoryEntry(entry.name, number, entry.file_type), replace(found, inode=number)

    def lookup(self, inode: int, name: bytes) -> int | None:
        top = self._image_at(inode)
        if top is not None:
            return next((number for known, number, _ in self._top(top) if known == name), None)
        system, own, place = self._split(inode)
        found = system.lookup(own, name)
        return None if found is None else self._joined(place, found, system)

    def lookup_exact(self, inode: int, name: bytes) -> int | None:
        """As `lookup`, but never a name that differs in case, which FAT and others would find."""
        found = self.lookup(inode, name)
        if found is None or self._image_at(inode) is not None:
            return found
        system, own, _ = self._split(inode)
        if getattr(system, "is_case_sensitive", True):
            return found
        return found if any(entry.name == name for entry in system.list(own)) else None

    # Attributes

    def stat(self, inode: int) -> InodeStat:
        if inode >> _SHIFT == 0 and (inode & _LOCAL_BITS == ROOT or _is_snapshot(inode)):
            return self._own_stat(inode, stat.S_IFDIR | 0o755, 0)
        source = self._source(inode)
        if source is not None:
            return self._own_stat(inode, stat.S_IFREG | 0o444, source.size_bytes)
        try:
            system, own, _ = self._split(inode)
        except ImageError:
            if inode & _OWN_BITS:
                raise
            # A damaged file system is still a directory: `ls` of the others must work.
            return self._own_stat(inode, stat.S_IFDIR | 0o000, 0)
        return replace(system.stat(own), inode=inode)

    def _own_stat(self, inode: int, mode: int, size: int) -> InodeStat:
        links = 2 if stat.S_ISDIR(mode) else 1
        return InodeStat(inode, mode, links, 0, 0, 0, size, -(-size // 512), *(self._times,) * 3)

    def readlink(self, inode: int) -> bytes:
        system, own, _ = self._split(inode)
        return system.readlink(own)

    def xattrs(self, inode: int) -> dict[bytes, bytes]:
        if inode >> _SHIFT == 0:
            return {}
        system, own, _ = self._split(inode)
        return system.xattrs(own)

    # Contents

    def _source(self, inode: int) -> ByteSource | None:
        """The window behind /disk.img or /pN.img."""
        number, local = inode >> _IMAGE_SHIFT, inode & _LOCAL_BITS
        if inode >> _SHIFT or number >= len(self._images):
            return None
        image = self._images[number]
        if local == _DISK:
            return image.disk.source
        return next(
            (each.source for each in image.volumes if each.index and each.index == local - _RAW_BASE), None
        )

    def read(self, inode: int, offset_bytes: int, length: int) -> bytes:
        source = self._source(inode)
        if source is not None:
            return source.read_at(offset_bytes, min(length, _MAX_READ_BYTES))
        system, own, _ = self._split(inode)
        return system.read(own, offset_bytes, min(length, _MAX_READ_BYTES))

    def data_ranges(self, inode: int) -> Iterator[tuple[int, int]]:
        source = self._source(inode)
        if source is not None:
            yield from source.data_ranges(0, source.size_bytes)
            return
        system, own, _ = self._split(inode)
        yield from system.data_ranges(own)

    def extents(self, inode: int) -> Extents | None:
        """With offsets in the image file; None where it takes more than copying."""
        source = self._source(inode)
        if source is not None:
            pieces = [(0, 0, source.size_bytes)]
        else:
            system, own, place = self._split(inode)
            source = self._places[place][1].content
            listed = system.extents(own) if isinstance(system, Mapped) else None
            if listed is None:
                return None
            pieces = listed
        found = []
        for at, start, length in pieces:
            physical = physical_of(source, start, length)
            if physical is None or physical[1] != length:
                return None
            found.append((at, physical[0], length))
        return found


def _is_snapshot(inode: int) -> bool:
    return inode >> _SHIFT == 0 and inode & _LOCAL_BITS >= _SNAPSHOT_BASE


class _FileWithin:
    """A file of the tree as a window of bytes."""

    def __init__(self, tree: ImageTree, inode: int) -> None:
        self._tree = tree
        self._inode = inode
        self.size_bytes = tree.stat(inode).size_bytes

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        length = min(length, self.size_bytes - offset_bytes)
        return self._tree.read(self._inode, offset_bytes, length) if length > 0 and offset_bytes >= 0 else b""

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        end = offset_bytes + length
        for start, count in self._tree.data_ranges(self._inode):
            first, last = max(start, offset_bytes), min(start + count, end, self.size_bytes)
            if first < last:
                yield first, last - first


def _time_of(image: Image) -> int:
    return max((file.mtime_ns for file in image.disk.files), default=0)
