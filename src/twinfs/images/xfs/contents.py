"""Contents of regular files: extents of data, zeros between them."""

from __future__ import annotations

from collections.abc import Iterator

from twinfs.errors import ImageError
from twinfs.images.xfs.disk import Disk
from twinfs.images.xfs.inode import Inode
from twinfs.images.xfs.mapping import Mapping

_LARGEST_READ = 1 << 30


def read(disk: Disk, inode: Inode, mapping: Mapping, offset_bytes: int, length: int) -> bytes:
    """A file's bytes, fewer only at its end. What lies together on disk is read at once.

    Raises ImageError for what cannot be read, and for more than 1 GiB at once: a damaged size must not
    decide how much memory is taken.
    """
    end = min(offset_bytes + length, inode.stat.size_bytes)
    if offset_bytes >= end:
        return b""
    if end - offset_bytes > _LARGEST_READ:
        raise ImageError(
            f"xfs: inode {inode.number}: {end - offset_bytes} bytes are too many to read at once"
        )
    what = f"contents of inode {inode.number}"
    pieces = []
    reached = offset_bytes
    for start, stop, place in _runs(disk, mapping, offset_bytes, end):
        if start > reached:
            pieces.append(bytes(start - reached))
        pieces.append(disk.read(place, stop - start, what))
        reached = stop
    if reached < end:
        pieces.append(bytes(end - reached))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def ranges(disk: Disk, inode: Inode, mapping: Mapping) -> Iterator[tuple[int, int]]:
    """(offset, length) in bytes of what was written, ascending; what touches is one."""
    begun: tuple[int, int] | None = None
    for start, stop, _ in _runs(disk, mapping, 0, inode.stat.size_bytes):
        if begun is not None and begun[1] == start:
            begun = (begun[0], stop)
            continue
        if begun is not None:
            yield begun[0], begun[1] - begun[0]
        begun = (start, stop)
    if begun is not None:
        yield begun[0], begun[1] - begun[0]


def _runs(disk: Disk, mapping: Mapping, offset_bytes: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(start, stop, place on disk) in bytes of written parts; those that lie together are one."""
    log = disk.superblock.block_log
    pending: tuple[int, int, int] | None = None
    for extent in mapping.overlapping(offset_bytes >> log, -(-end >> log)):
        if extent.is_unwritten:
            continue
        start, stop = max(extent.first << log, offset_bytes), min(extent.end << log, end)
        place = extent.offset_bytes + start - (extent.first << log)
        if pending is not None and pending[1] == start and pending[2] + pending[1] - pending[0] == place:
            pending = (pending[0], stop, pending[2])
            continue
        if pending is not None:
            yield pending
        pending = (start, stop, place)
    if pending is not None:
        yield pending
