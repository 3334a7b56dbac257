"""What a reader must never do, however an image misleads it."""

from __future__ import annotations

import ctypes
import resource
import threading
from typing import Final

DATA_BYTES: Final = 440 << 20
"""Leaves room for the program itself below the 512 MB that a reader may take."""
_DESCRIPTORS: Final = 4096
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_SIGKILL: Final = 9
_STACK_BYTES: Final = 512 << 10


def apply_limits() -> None:
    """Memory, files, no core dumps, no new privileges; and it dies with whoever started it. See prctl(2)."""
    for kind, wanted in (
        (resource.RLIMIT_DATA, DATA_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _DESCRIPTORS),
    ):
        _, hard = resource.getrlimit(kind)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))
    # The default of 8 MB a thread counts towards the memory, used or not.
    threading.stack_size(_STACK_BYTES)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
