"""Reading what is on the disk, past the page cache, which may still hold what the disk has lost.

Two ways. *direct*: O_DIRECT, see open(2); the cache is neither used nor filled. *dropped*: the file's cached
pages are written back and dropped before it is read (posix_fadvise(2), POSIX_FADV_DONTNEED), and again
afterwards, so that a scrub does not push out what people work with.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import struct
from typing import Final

from twinfs.fsio.syscalls import file_system_magic
from twinfs.model import ReadMethod

BLOCK_BYTES: Final = 4096
"""What O_DIRECT wants of offsets, lengths and addresses at most; more than any disk's sector."""

_libc: Final = ctypes.CDLL(None, use_errno=True)
_AT_EMPTY_PATH: Final = 0x1000
_STATX_DIOALIGN: Final = 0x2000  # statx(2), since 6.1
_STATX_BYTES: Final = 256
_DIO_ALIGN_AT: Final = 0x98
_DIRECT_FILESYSTEMS: Final = frozenset((0xEF53, 0x58465342))  # ext2/3/4 and xfs, statfs(2)


def aligned_buffer(size: int) -> mmap.mmap:
    """Zeroed memory that begins at a page, as O_DIRECT needs it."""
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def rounded_up(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def method_of(fd: int) -> ReadMethod:
    """How files like the open one can be read from the disk.

    Where the kernel says so itself, that counts: ext4 with data=journal takes O_DIRECT and reads the cache
    all the same. Before it did, only ext4 and xfs are known to mean it (btrfs does not, where it compresses).
    """
    answer = ctypes.create_string_buffer(_STATX_BYTES)
    if _libc.statx(fd, b"", _AT_EMPTY_PATH, _STATX_DIOALIGN, answer) == 0:
        (mask,) = struct.unpack_from("=I", answer)
        if mask & _STATX_DIOALIGN:
            memory, offset = struct.unpack_from("=II", answer, _DIO_ALIGN_AT)
            is_usable = 0 < memory <= BLOCK_BYTES and 0 < offset <= BLOCK_BYTES
            return ReadMethod.DIRECT if is_usable else ReadMethod.DROPPED
    with contextlib.suppress(OSError):
        if file_system_magic(fd) in _DIRECT_FILESYSTEMS:
            return ReadMethod.DIRECT
    return ReadMethod.DROPPED


def open_uncached(name: bytes, method: ReadMethod, dir_fd: int) -> int:
    """Open a regular file for reading from the disk. `name` is one component, never followed.

    Pair it with `close_uncached`. With O_NOATIME, where allowed: looking must not write to the disk.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    if method is ReadMethod.DIRECT:
        flags |= os.O_DIRECT
    try:
        fd = os.open(name, flags | os.O_NOATIME, dir_fd=dir_fd)
    except PermissionError:
        fd = os.open(name, flags, dir_fd=dir_fd)
    if method is ReadMethod.DROPPED:
        try:
            # A page that is still to be written cannot be dropped.
            os.fdatasync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        except BaseException:
            os.close(fd)
            raise
    return fd


def close_uncached(fd: int, method: ReadMethod) -> None:
    if method is ReadMethod.DROPPED:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def read_whole(fd: int, buffer: memoryview, offset: int) -> int:
    """Fill `buffer` from `offset`, which is a multiple of BLOCK_BYTES; fewer bytes only at the file's end."""
    filled = 0
    while filled < len(buffer):
        count = os.preadv(fd, [buffer[filled:]], offset + filled)
        filled += count
        # With O_DIRECT a read that does not end at a block ended with the file.
        if count == 0 or filled % BLOCK_BYTES:
            break
    return filled
