"""What of a file is in the page cache.

preadv2(2) with RWF_NOWAIT does not wait, but it has the kernel read ahead what it did not find
(filemap_get_pages() in the kernel's mm/filemap.c): who only wants to know would keep the disk busy.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64),
)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)

_FAILED: Final = ctypes.c_void_p(-1).value


def is_cached(fd: int, offset: int, size: int) -> bool:
    """Whether all of it is there, see mincore(2); it may be gone a moment later. `size` is more than 0, and
    ends in the file. False also where that cannot be told; True for whoever may not know (not the
    owner, not allowed to write)."""
    start = offset - offset % mmap.PAGESIZE
    length = offset + size - start
    pages = -(-length // mmap.PAGESIZE)
    address = _libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, fd, start)
    if address == _FAILED:
        return False
    try:
        present = ctypes.create_string_buffer(pages)
        if _libc.mincore(address, length, present) != 0:
            return False
    finally:
        _libc.munmap(address, length)
    # The other bits are reserved.
    return all(page & 1 for page in present.raw)


def read_cached(fd: int, buffer: bytearray, offset: int) -> int:
    """Fill the buffer from the page cache, as far as it goes; returns the bytes read."""
    try:
        return os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EOPNOTSUPP):
            raise
        return 0
