"""Being the last in the queue for the disk and the processor."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)
_IOPRIO_WHO_PROCESS: Final = 1
_IOPRIO_CLASS_IDLE: Final = 3 << 13
_NICER: Final = 10
_SYS_IOPRIO_SET: Final = {
    "x86_64": 251,
    "aarch64": 30,
    "riscv64": 30,
    "armv7l": 314,
    "ppc64le": 273,
    "s390x": 282,
}


def be_idle() -> bool:
    """For the calling process and the threads it starts: the idle I/O class, ioprio_set(2), and nice.

    Returns whether the I/O class was set. A scheduler that knows no classes ("none") ignores it.
    """
    with contextlib.suppress(OSError):
        os.nice(_NICER)
    number = _SYS_IOPRIO_SET.get(platform.machine())
    if number is None:
        return False
    return bool(_libc.syscall(number, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_CLASS_IDLE) == 0)
