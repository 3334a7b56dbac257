"""Giving versions up, the oldest first, a segment at a time."""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import Final

from twinfs.fsio.tree import remove_tree
from twinfs.mirror.folders import TEMPORARY, VERSIONS
from twinfs.mirror.versions import segments

_numbers: Final = itertools.count()


def drop_oldest(root_fd: int, *, but: bytes | None) -> bytes | None:
    """Drop a leg's oldest segment, unless that is `but`, the one that is being written. Any thread.

    Returns its name, None where there is no other.

    One rename, and it is no version any more; what a kill leaves of it goes with the next start.
    """
    for segment in segments.names(root_fd):
        if segment == but:
            return None
        if drop(root_fd, segment):
            return segment
    return None


def drop(root_fd: int, segment: bytes) -> bool:
    """False when somebody else was faster."""
    name = TEMPORARY + b"/dropped-%d-%s" % (next(_numbers), segment)
    try:
        os.rename(VERSIONS + b"/" + segment, name, src_dir_fd=root_fd, dst_dir_fd=root_fd)
    except FileNotFoundError:
        return False
    with contextlib.suppress(FileNotFoundError):
        remove_tree(root_fd, name)
    return True
