"""What goes from the secondary before anybody has compared it: nobody meant that, and it is put aside.

While a comparison that keeps what differs is pending, a change on the primary may hit what only this leg has.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

from twinfs.mirror.quarantine import Quarantine

_UNCOMPARED: Final = "it was removed or replaced before anybody had compared it"

Place = tuple[int, bytes, bytes]
"""(descriptor of the directory, name, path from the root)"""


class Unmeant:
    """Runs in the secondary's lane; one folder of the leg's quarantine."""

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._quarantine: Quarantine | None = None

    def set_aside(self, place: Place, why: str = _UNCOMPARED) -> None:
        """FileNotFoundError where nothing is there."""
        self._quarantine = self._quarantine or Quarantine(self._root_fd)
        self._quarantine.take(*place, why)

    def make_way(self, source: Place, target: Place) -> None:
        """Before a rename. FileNotFoundError where there is nothing to be renamed."""
        moved = os.stat(source[1], dir_fd=source[0], follow_symlinks=False)
        with contextlib.suppress(FileNotFoundError):
            replaced = os.stat(target[1], dir_fd=target[0], follow_symlinks=False)
            if not os.path.samestat(moved, replaced):
                self.set_aside(target)
