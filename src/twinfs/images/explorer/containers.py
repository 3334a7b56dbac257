"""Virtual disks and compressed images, opened by the library."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final

from twinfs.errors import ImageError
from twinfs.images import progress
from twinfs.images.explorer.library import (
    BlockSource,
    ImageFile,
    NotFound,
    RandomAccess,
    SourceAccess,
    StreamFactory,
    compressed_size,
    driver,
    guarded,
    make_context,
    open_with,
    stream_factory,
)
from twinfs.images.protocol import ByteSource

_MAX_READ_BYTES: Final = 16 << 20


DISK_KINDS: Final = {
    "qcow2": ("fs_explorer.containers.qcow2", "QCOW2Driver"),
    "vmdk": ("fs_explorer.containers.vmdk", "VMDKDriver"),
    "vdi": ("fs_explorer.containers.vdi", "VDIDriver"),
    "vhd": ("fs_explorer.containers.vhd", "VHDDriver"),
    "vhdx": ("fs_explorer.containers.vhdx", "VHDXDriver"),
    "dmg": ("fs_explorer.containers.udif", "UDIFDriver"),
}
COMPRESSED_KINDS: Final = ("xz", "zstd")
"""Not gzip, nor bzip2: on several gzip members the library hangs, and bzip2 it has read wrong."""


def open_container(
    kind: str, source: ByteSource, name: str, open_beside: Callable[[str], ByteSource]
) -> ByteSource:
    """The disk in a container. `open_beside` opens backing files and extents by the name the image gives.

    Raises ImageError.
    """
    with guarded(kind):
        if kind in COMPRESSED_KINDS:
            return _Unpacked(source, kind)
        context = make_context(lambda sibling: _sibling(sibling, open_beside))
        opened = open_with(driver(*DISK_KINDS[kind]), SourceAccess(source), context, name)
        if not isinstance(opened, BlockSource):
            raise ImageError(f"{kind}: no disk in it")
        return _Disk(opened.device(), kind)


def _sibling(name: str, open_beside: Callable[[str], ByteSource]) -> RandomAccess:
    """Not found in the library's own words: for a path it then tries the last component alone."""
    try:
        return SourceAccess(open_beside(name))
    except ImageError as error:
        raise NotFound(str(error)) from None


class _Disk:
    def __init__(self, device: RandomAccess, kind: str) -> None:
        self._device = device
        self._kind = kind
        self.size_bytes = device.size

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        length = min(length, self.size_bytes - offset_bytes, _MAX_READ_BYTES)
        if length <= 0 or offset_bytes < 0:
            return b""
        with guarded(f"{self._kind} at byte {offset_bytes}"):
            found = self._device.read_at(offset_bytes, length)
        # A file that was cut off reads as zeros where the library is lenient.
        return found if len(found) == length else found + bytes(length - len(found))

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        with guarded(self._kind):
            known = self._device.data_ranges()
        end = min(offset_bytes + length, self.size_bytes)
        for start, count in [(0, self.size_bytes)] if known is None else known:
            first, last = max(start, offset_bytes), min(start + count, end)
            if first < last:
                yield first, last - first


class _Progressing(SourceAccess):
    """Decoding a stream goes through its input once: reading on is getting on."""

    def read_at(self, off: int, n: int) -> bytes:
        progress.advance()
        return super().read_at(off, n)


class _Unpacked:
    """What a compressed file holds. Reading far ahead decodes all that lies before; places to resume from
    are remembered, so that reading back costs little. One reader at a time."""

    def __init__(self, source: ByteSource, kind: str) -> None:
        self._kind = kind
        self._lock = threading.Lock()
        access = _Progressing(source)
        factory = stream_factory(kind, access, make_context())
        self.size_bytes = compressed_size(kind, access) or _measured(factory)
        factory.size = self.size_bytes
        self._file = ImageFile(factory)

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        length = min(length, self.size_bytes - offset_bytes, _MAX_READ_BYTES)
        if length <= 0 or offset_bytes < 0:
            return b""
        with guarded(f"{self._kind} at byte {offset_bytes}"), self._lock:
            self._file.seek(offset_bytes)
            return self._file.read(length)

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        end = min(offset_bytes + length, self.size_bytes)
        if end > offset_bytes:
            yield offset_bytes, end - offset_bytes


def _measured(factory: StreamFactory) -> int:
    """The size, by decoding all of it once, where the file does not say it."""
    total = 0
    with factory.open() as stream:
        while piece := stream.read(1 << 20):
            total += len(piece)
            progress.advance()
    return total
