"""Reading source and image once more, and comparing them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from twinfs.images.rescue_map import RescueMap, Status
from twinfs_capture.disk.buffers import Chunk
from twinfs_capture.disk.pipeline import CHUNK_BYTES
from twinfs_capture.disk.source import Source
from twinfs_capture.stop import Stop


def mismatches(
    source: Source, image_fd: int, rescue_map: RescueMap, stop: Stop, on_position: Callable[[int], None]
) -> Iterator[tuple[int, int]]:
    """(offset, length) of the parts that were read once and are different now, or cannot be read now.

    In whole sectors, neighbours joined within a read; past the page cache where possible. Raises Interrupted.
    """
    source.forget_cache()
    os.fsync(image_fd)
    os.posix_fadvise(image_fd, 0, 0, os.POSIX_FADV_DONTNEED)
    ours, theirs = Chunk(CHUNK_BYTES), Chunk(CHUNK_BYTES)
    for block in rescue_map.blocks(Status.FINISHED):
        for start in range(block.start, block.end, CHUNK_BYTES):
            stop.check()
            length = min(CHUNK_BYTES, block.end - start)
            left, right = ours.view[:length], theirs.view[:length]
            good = source.read(left, start).length
            _read_image(image_fd, right, start)
            if good < length or bytes(left) != bytes(right):
                yield from _differences(left, right, start, good, source.sector_bytes)
            on_position(start + length)


def _read_image(fd: int, view: memoryview, offset_bytes: int) -> None:
    done = 0
    while done < len(view):
        got = os.preadv(fd, [view[done:]], offset_bytes + done)
        if got == 0:
            # Shorter than it was: zeros differ from any data, and equal what an image's hole means.
            view[done:] = bytes(len(view) - done)
            return
        done += got


def _differences(
    left: memoryview, right: memoryview, offset_bytes: int, good: int, sector_bytes: int
) -> Iterator[tuple[int, int]]:
    begin = None
    for start in range(0, len(left), sector_bytes):
        end = min(start + sector_bytes, len(left))
        is_equal = end <= good and bytes(left[start:end]) == bytes(right[start:end])
        if is_equal and begin is not None:
            yield offset_bytes + begin, start - begin
            begin = None
        elif not is_equal and begin is None:
            begin = start
    if begin is not None:
        yield offset_bytes + begin, len(left) - begin
