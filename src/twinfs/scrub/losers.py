"""The bad copies that a repair has replaced: kept in the leg's quarantine, with where, when and why."""

from __future__ import annotations

import os

from twinfs.fsio.beneath import located
from twinfs.mirror.quarantine import Quarantine, size_of


class Losers(Quarantine):
    """One folder a scrub. Its notes are durable before the repair."""

    def keep(self, path: bytes, why: str) -> None:
        """Give what is at `path` a second name in quarantine. Its own name is then free to be replaced."""
        target = self.place_for(path)
        with located(self._root_fd, path) as (dir_fd, name):
            os.link(name, target, src_dir_fd=dir_fd, dst_dir_fd=self._root_fd, follow_symlinks=False)
        self.explain(path, why, target)

    def move(self, path: bytes, why: str) -> None:
        """What is at `path` is no part of the volume, or a directory, which can have one name only."""
        target = self.place_for(path)
        with located(self._root_fd, path) as (dir_fd, name):
            status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            self._note(path, why, target, size_of(status), is_durable=True)
            self.put_away(dir_fd, name, target)

    def explain(self, path: bytes, why: str, target: bytes | None = None) -> None:
        """`target`: what is called so in quarantine now, if anything."""
        size = None
        if target is not None:
            size = size_of(os.stat(target, dir_fd=self._root_fd, follow_symlinks=False))
        self._note(path, why, target, size, is_durable=True)
