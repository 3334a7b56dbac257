"""Has the dynamic linker find listing_cache.c before libfuse."""

from __future__ import annotations

import contextlib
import ctypes
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

LISTING_MARK: Final = 0xFFD1 << 48
"""In the handle of a directory whose listing the kernel may keep."""


def library() -> Path | None:
    """Where it was built; None where there was no compiler."""
    beside = Path(__file__).parent
    built = (beside / f"_listing_cache{suffix}" for suffix in EXTENSION_SUFFIXES)
    return next((path for path in built if path.exists()), None)


def load() -> None:
    """To be called before pyfuse3 is imported; later it has no effect, and does no harm."""
    if (path := library()) is None:
        return
    # Built for another libfuse, perhaps.
    with contextlib.suppress(OSError, AttributeError):
        if ctypes.CDLL(str(path)).twinfs_listing_cache_is_ready():
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
