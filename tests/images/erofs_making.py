"""EROFS as newer mkfs.erofs than Debian 12's compress it: LZ4 images of that, each extent compressed anew."""

from __future__ import annotations

import lzma
import stat
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from support.images import OpenImage, tool, write_at
from twinfs.images.erofs.compressed import CompressedFile, Extent
from twinfs.images.erofs.decompress import Algorithm
from twinfs.images.erofs.file_system import ErofsFileSystem

_PROPERTIES: Final = {"lc": 3, "lp": 0, "pb": 2}


def microlzma(data: bytes) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20, **_PROPERTIES}]
    raw = lzma.compress(data, lzma.FORMAT_RAW, filters=filters)
    assert raw[0] == 0
    properties = (_PROPERTIES["pb"] * 5 + _PROPERTIES["lp"]) * 9 + _PROPERTIES["lc"]
    return bytes([~properties & 0xFF]) + raw[1:]


def deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return encoder.compress(data) + encoder.flush()


def zstandard(data: bytes) -> bytes:
    words = ["zstd", "-19", "-q", "-c", "--no-check", f"--stream-size={len(data)}"]
    return subprocess.run(words, input=data, capture_output=True, check=True).stdout


ENCODERS: Final[dict[Algorithm, Callable[[bytes], bytes]]] = {
    Algorithm.MICROLZMA: microlzma,
    Algorithm.DEFLATE: deflate,
    Algorithm.ZSTANDARD: zstandard,
}


def make(tree: Path, image: Path, algorithm: Algorithm, *options: str) -> int:
    """How many extents are compressed so."""
    tool("mkfs.erofs", "-zlz4", *options, image, tree)
    with OpenImage(image) as opened:
        system = opened.file_system(opened.volumes[0])
        assert isinstance(system, ErofsFileSystem)
        changes = list(_changes(system, algorithm))
    for place, data in changes:
        write_at(image, place, data)
    return sum(len(data) > 1 for _, data in changes)


def _changes(system: ErofsFileSystem, algorithm: Algorithm) -> Iterator[tuple[int, bytes]]:
    left = [system.root_inode]
    while left:
        for entry in system.list(left.pop()):
            if entry.file_type == stat.S_IFDIR:
                left.append(entry.inode)
                continue
            found = system._inode(entry.inode)
            if entry.file_type != stat.S_IFREG or found.layout not in (1, 3):
                continue
            header = -(-found.end_bytes // 8) * 8
            yield header + 6, bytes([algorithm])
            file = CompressedFile(system._disk, found)
            for extent in _extents(file, found.stat.size_bytes):
                if extent.algorithm is not None:
                    packed = ENCODERS[algorithm](file.data_of(extent))
                    assert len(packed) <= extent.stored_bytes, "LZ4 was better"
                    yield extent.place_bytes, packed.rjust(extent.stored_bytes, b"\0")


def _extents(file: CompressedFile, size: int) -> Iterator[Extent]:
    at = 0
    while at < size:
        extent = file.extent_at(at)
        yield extent
        at = extent.end
