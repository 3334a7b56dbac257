"""Temporaries of repairs that a kill cut short."""

from __future__ import annotations

import os
from typing import Final

from twinfs.fsio.tree import remove_tree
from twinfs.mirror.folders import TEMPORARY

PREFIX: Final = b"scrub-"


def remove_leftovers(root_fd: int) -> None:
    """On one leg; before a repair begins, never beside one."""
    fd = os.open(TEMPORARY, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root_fd)
    try:
        for name in map(os.fsencode, os.listdir(fd)):
            if name.startswith(PREFIX):
                remove_tree(fd, name)
    finally:
        os.close(fd)
