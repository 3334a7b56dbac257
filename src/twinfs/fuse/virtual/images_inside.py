"""What is within an image of a volume, as virtual objects.

Other users put images there: nothing in them gives rights that its reader does not have. Set-id bits and file
capabilities are left out, and a device node is none.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from twinfs.fuse.virtual.images_open import OpenImage, Place
from twinfs.fuse.virtual.objects import Facts, VirtualDirectory, VirtualFile, VirtualLink, VirtualObject
from twinfs.images.worker.wire import PackedStat

_LIST_COUNT: Final = 1000
_SET_ID: Final = stat.S_ISUID | stat.S_ISGID
_READABLE: Final = 0o444
_ENTERABLE: Final = 0o555
_WITHHELD: Final = (b"security.", b"trusted.")
_ACLS: Final = b"system.posix_acl_"


@dataclass(frozen=True)
class Inside(VirtualObject):
    """Equal where one reader calls it by one number."""

    image: OpenImage
    number: tuple[int, ...]
    """The reader's, and which reader's."""
    place: Place = field(compare=False)
    seen: Facts = field(compare=False)

    def facts(self) -> Facts:
        return self.seen

    async def xattrs(self) -> Mapping[bytes, bytes]:
        found, _ = await self.image.ask(self.place, "xattrs")
        withheld = _WITHHELD if os.geteuid() == 0 else (*_WITHHELD, _ACLS)
        return {name: value for name, value in found.items() if not name.startswith(withheld)}


@dataclass(frozen=True)
class InsideDirectory(Inside, VirtualDirectory):
    async def find(self, name: bytes) -> VirtualObject | None:
        return await find(self.image, self.place, name)

    async def entries(self) -> Sequence[tuple[bytes, VirtualObject]]:
        return await entries(self.image, self.place)


@dataclass(frozen=True)
class InsideFile(Inside, VirtualFile):
    async def read(self, offset: int, size: int) -> bytes:
        found, _ = await self.image.ask(self.place, "read", offset, size)
        return bytes(found)


@dataclass(frozen=True)
class InsideLink(Inside, VirtualLink):
    async def target(self) -> bytes:
        found, _ = await self.image.ask(self.place, "readlink")
        return bytes(found)


_KINDS: Final = {stat.S_IFDIR: InsideDirectory, stat.S_IFREG: InsideFile, stat.S_IFLNK: InsideLink}


async def find(image: OpenImage, place: Place, name: bytes) -> VirtualObject | None:
    found, epoch = await image.ask(place, "lookup", name)
    return None if found is None else _object(image, Place(place, name, epoch, found[0]), found)


async def entries(image: OpenImage, place: Place) -> Sequence[tuple[bytes, VirtualObject]]:
    """All of a directory. A reader that is replaced meanwhile begins again."""
    listed: list[tuple[bytes, VirtualObject]] = []
    begun = None
    is_last = False
    while not is_last:
        (batch, is_last), epoch = await image.ask(place, "list", len(listed), _LIST_COUNT)
        if begun is not None and epoch != begun:
            listed, begun, is_last = [], None, False
            continue
        begun = epoch
        for name, packed in batch:
            listed.append((name, _object(image, Place(place, name, epoch, packed[0]), packed)))
    return listed


def _object(image: OpenImage, place: Place, packed: PackedStat) -> VirtualObject:
    made = _KINDS.get(stat.S_IFMT(packed[1]), Inside)
    return made(image, (*place.epoch, place.number), place, _facts_of(packed))


def _facts_of(packed: PackedStat) -> Facts:
    _, mode, links, uid, gid, _, size, blocks, atime, mtime, ctime = packed
    mode &= ~_SET_ID
    if os.geteuid() != 0:
        # The user who mounted the volume is who reads it all, as with `twinfs image mount`.
        mode |= _ENTERABLE if stat.S_ISDIR(mode) else _READABLE
    return Facts(
        mode,
        size,
        mtime,
        uid & 0xFFFFFFFF,
        gid & 0xFFFFFFFF,
        min(links, 0xFFFFFFFF),
        blocks,
        atime,
        ctime,
    )
