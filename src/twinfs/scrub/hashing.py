"""One file's bytes, read from the disk and hashed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from twinfs.fsio.beneath import located
from twinfs.fsio.uncached import aligned_buffer, close_uncached, open_uncached, read_whole
from twinfs.model import ReadMethod

_CHUNK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Hashed:
    """`content` is None where the disk does not give it all; `error` says why. `before` and `after` tell
    whether it was written meanwhile."""

    content: bytes | None
    before: os.stat_result
    after: os.stat_result
    error: str = ""


def hash_file(
    root_fd: int, path: bytes, method: ReadMethod, on_bytes: Callable[[int], None] | None = None
) -> Hashed:
    """Read the regular file at `path` below the open root, past the page cache, in flat memory.

    OSError when it cannot be opened. Source: BLAKE3, 32 bytes, of all bytes, holes as zeros.
    """
    with located(root_fd, path) as (dir_fd, name):
        fd = open_uncached(name, method, dir_fd)
    try:
        before = os.fstat(fd)
        content, error = _hash_open(fd, on_bytes)
        return Hashed(content, before, os.fstat(fd), error)
    finally:
        close_uncached(fd, method)


def _hash_open(fd: int, on_bytes: Callable[[int], None] | None) -> tuple[bytes | None, str]:
    hasher = blake3()
    offset = 0
    with aligned_buffer(_CHUNK_BYTES) as memory, memoryview(memory) as view:
        while True:
            try:
                count = read_whole(fd, view, offset)
            except OSError as error:
                return None, f"{error.strerror} at byte {offset} or soon after"
            with view[:count] as filled:
                hasher.update(filled)
            offset += count
            if on_bytes is not None:
                on_bytes(count)
            if count < _CHUNK_BYTES:
                return hasher.digest(), ""
