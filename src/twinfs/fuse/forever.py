"""What the kernel may remember for good. Apart from `convert`, so that images need nothing of mirrors."""

from __future__ import annotations

from typing import Final

import pyfuse3

FOREVER_SECONDS: Final = 365 * 86400.0
"""We own the tree: what the kernel knows stays true until it, or we, change it."""


def absent() -> pyfuse3.EntryAttributes:
    """A lookup that found nothing, which the kernel may remember; see fuse_reply_entry in libfuse."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = 0
    entry.entry_timeout = FOREVER_SECONDS
    return entry
