"""`.twinfs/images/` in the volume: its directories once more, and in them every file as a directory, for what
is in a disk image.

Looking at a name opens nothing, looking into it does. Who may read an image may enter it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from twinfs.fuse.virtual import images_inside
from twinfs.fuse.virtual.images_open import OpenImage, OpenImages, Place
from twinfs.fuse.virtual.images_seen import Seen, listed, look
from twinfs.fuse.virtual.objects import Facts, VirtualDirectory, VirtualLink, VirtualObject
from twinfs.images.overlay.acl import ACCESS, for_readers_to_enter, without_writing

_READING: Final = 0o555


@dataclass(frozen=True)
class Shown(VirtualObject):
    """What stands at a path of the volume."""

    images: OpenImages = field(compare=False)
    path: bytes
    seen: Seen

    is_replaced = True

    def facts(self) -> Facts:
        seen = self.seen
        return Facts(self.mode, len(seen.target), seen.mtime_ns, seen.uid, seen.gid)

    @property
    def mode(self) -> int:
        return self.seen.mode


@dataclass(frozen=True)
class Folder(Shown, VirtualDirectory):
    """A directory of the volume."""

    @property
    def mode(self) -> int:
        return stat.S_IFDIR | self.seen.mode & _READING

    async def xattrs(self) -> Mapping[bytes, bytes]:
        return {ACCESS: without_writing(self.seen.acl)} if self.seen.acl else {}

    async def find(self, name: bytes) -> VirtualObject | None:
        path = self._path_of(name)
        # Not in a thread: as quick as any lookup in the volume.
        seen = look(self.images.root_fd, path)
        return None if seen is None else _shown(self.images, path, seen)

    async def entries(self) -> Sequence[tuple[bytes, VirtualObject]]:
        found = await trio.to_thread.run_sync(listed, self.images.root_fd, self.path)
        return [(name, _shown(self.images, self._path_of(name), seen)) for name, seen in found]

    def _path_of(self, name: bytes) -> bytes:
        return self.path + b"/" + name if self.path else name


@dataclass(frozen=True)
class Link(Shown, VirtualLink):
    """A symbolic link of the volume: it leads to the image's directory as there to the image."""

    async def target(self) -> bytes:
        return self.seen.target


@dataclass(frozen=True)
class ImageTop(Shown, VirtualDirectory):
    """A file of the volume, taken for an image."""

    @property
    def mode(self) -> int:
        readers = self.seen.mode & 0o444
        return stat.S_IFDIR | readers | readers >> 2

    async def xattrs(self) -> Mapping[bytes, bytes]:
        return {ACCESS: for_readers_to_enter(self.seen.acl)} if self.seen.acl else {}

    def _image(self) -> OpenImage:
        return self.images.get(self.path, self.seen.stamp)

    async def find(self, name: bytes) -> VirtualObject | None:
        return await images_inside.find(self._image(), Place(), name)

    async def entries(self) -> Sequence[tuple[bytes, VirtualObject]]:
        return await images_inside.entries(self._image(), Place())


def _shown(images: OpenImages, path: bytes, seen: Seen) -> Shown:
    if stat.S_ISDIR(seen.mode):
        return Folder(images, path, seen)
    if stat.S_ISLNK(seen.mode):
        return Link(images, path, seen)
    return ImageTop(images, path, seen)


async def images_directory(images: OpenImages) -> VirtualObject:
    """The volume's root."""
    seen = look(images.root_fd, b"")
    if seen is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return Folder(images, b"", seen)
