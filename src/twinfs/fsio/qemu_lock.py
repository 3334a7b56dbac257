"""Whether a virtual machine is writing to a disk image, by the locks that QEMU holds on it."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

# Not in Python's fcntl before 3.13; include/uapi/asm-generic/fcntl.h.
_F_OFD_GETLK: Final = 36
# QEMU locks a byte for each permission that it has: block/file-posix.c, RAW_LOCK_PERM_BASE, and
# include/block/block-common.h, BLK_PERM_WRITE = 1 << 1.
_WRITE_BYTE: Final = 100 + 1
# struct flock: type, whence, padding, start, length, pid, padding.
_FLOCK: Final = struct.Struct("@hhiqqii")


def is_written_by_qemu(path: str | os.PathLike[str]) -> bool:
    """False where it cannot be told: no file and no block device, no locks there, another machine's QEMU."""
    if not (Path(path).is_file() or Path(path).is_block_device()):
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        # Who opens it next says why.
        return False
    try:
        question = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, _WRITE_BYTE, 1, 0, 0)
        answer = fcntl.fcntl(fd, _F_OFD_GETLK, question)
    except OSError:
        return False
    finally:
        os.close(fd)
    kind: int = _FLOCK.unpack(answer)[0]
    return kind != fcntl.F_UNLCK
