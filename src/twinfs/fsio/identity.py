"""Which file system a directory is on, so that another disk under the same path is noticed."""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

_FS_IOC_GETFSUUID = 0x80111500  # _IOR(0x15, 0, struct fsuuid2), linux/fs.h, since 6.8


def filesystem_id(fd: int) -> str:
    """`uuid:...` where the kernel tells it, else `fsid:...` from statfs(2), else an empty string.

    An O_PATH descriptor will not do: the ioctl needs one opened for reading.
    """
    try:
        answer = fcntl.ioctl(fd, _FS_IOC_GETFSUUID, bytes(17))
        return f"uuid:{uuid.UUID(bytes=answer[1:17])}"
    except OSError:
        # An older kernel, or a file system without a UUID: the fsid is the next best.
        fsid = os.statvfs(fd).f_fsid
        return f"fsid:{fsid:x}" if fsid else ""


def is_other_filesystem(recorded: str, present: str) -> bool:
    """True only when both are known, of one kind, and differ."""
    if not recorded or not present:
        return False
    return recorded.split(":")[0] == present.split(":")[0] and recorded != present


def boot_id() -> str:
    """Changes at every boot of the kernel: what was only in the page cache then is gone."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
