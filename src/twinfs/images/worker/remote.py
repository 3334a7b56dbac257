"""The tree of an image in another process, as a `FileSystem` like any other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from twinfs.imageinfo import ImageInfo
from twinfs.images.protocol import DirectoryEntry, InodeStat
from twinfs.images.worker import wire
from twinfs.images.worker.client import ReaderClient

LIST_COUNT: Final = 500
_READ_BYTES: Final = 8 << 20


class RemoteTree:
    kind = "image"
    label = ""
    uuid = ""
    root_inode = wire.ROOT
    warnings: tuple[str, ...] = ()

    def __init__(self, client: ReaderClient) -> None:
        self._client = client

    def info(self) -> ImageInfo:
        return msgspec.convert(self._client.call("info"), ImageInfo)

    def capacity(self) -> tuple[int, int]:
        total, free = self._client.call("capacity")
        return int(total), int(free)

    def stat(self, inode: int) -> InodeStat:
        return wire.unpack_stat(self._client.call("stat", inode))

    def list_with_stat(self, inode: int) -> Iterator[tuple[DirectoryEntry, InodeStat]]:
        position = 0
        while True:
            batch, is_last = self._client.call("list", inode, position, LIST_COUNT)
            yield from map(wire.unpack_entry, batch)
            if is_last:
                return
            position += len(batch)

    def list(self, inode: int) -> Iterator[DirectoryEntry]:
        for entry, _ in self.list_with_stat(inode):
            yield entry

    def lookup(self, inode: int, name: bytes) -> int | None:
        found = self._client.call("lookup", inode, name)
        return None if found is None else wire.unpack_stat(found).inode

    def lookup_exact(self, inode: int, name: bytes) -> int | None:
        """As `lookup`, but never another spelling of the name."""
        found = self._client.call("lookup_exact", inode, name)
        return None if found is None else wire.unpack_stat(found).inode

    def fingerprint(self) -> str:
        return str(self._client.call("fingerprint"))

    def read(self, inode: int, offset_bytes: int, length: int) -> bytes:
        found = self._client.call("read", inode, offset_bytes, min(length, _READ_BYTES))
        return bytes(found)

    def data_ranges(self, inode: int) -> Iterator[tuple[int, int]]:
        skipped = 0
        while batch := self._client.call("data_ranges", inode, skipped):
            yield from batch
            skipped += len(batch)

    def lost(self) -> Iterator[tuple[bytes, str]]:
        """Names of volumes whose first blocks could not be read, and why."""
        for name, message in self._client.call("lost"):
            yield bytes(name), str(message)

    def affected(self, inode: int) -> Sequence[tuple[int, int]]:
        """(offset, length) of what cannot be read of a file; the image must have been opened with a map."""
        return [(int(offset), int(length)) for offset, length in self._client.call("affected", inode)]

    def readlink(self, inode: int) -> bytes:
        return bytes(self._client.call("readlink", inode))

    def xattrs(self, inode: int) -> dict[bytes, bytes]:
        return dict(self._client.call("xattrs", inode))
