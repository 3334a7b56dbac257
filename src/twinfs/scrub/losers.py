"""The bad copies that a repair has replaced: kept in the leg's quarantine, with where, when and why."""

from __future__ import annotations

import os
import time

import msgspec

from twinfs.fsio.beneath import located
from twinfs.mirror.quarantine import Quarantine
from twinfs.model import BadLeg


class Losers(Quarantine):
    """One folder a scrub, and beside it, in `FOLDER.jsonl`, a line for each of them."""

    def __init__(self, root_fd: int, leg: BadLeg) -> None:
        super().__init__(root_fd)
        self._leg = leg
        self._reasons = self._folder + b".jsonl"

    def keep(self, path: bytes, why: str) -> None:
        """Give what is at `path` a second name in quarantine. Its own name is then free to be replaced."""
        target = self.place_for(path)
        with located(self._root_fd, path) as (dir_fd, name):
            os.link(name, target, src_dir_fd=dir_fd, dst_dir_fd=self._root_fd, follow_symlinks=False)
        self.explain(path, why, target)

    def move(self, path: bytes, why: str) -> None:
        """What is at `path` is no part of the volume, or a directory, which can have one name only."""
        target = self.place_for(path)
        self.explain(path, why, target)
        with located(self._root_fd, path) as (dir_fd, name):
            self.put_away(dir_fd, name, target)

    def explain(self, path: bytes, why: str, target: bytes | None = None) -> None:
        """Durable before the repair: where it was, when, why, and what it is called now."""
        line = {
            "path": _text(path),
            "leg": self._leg.value,
            "time": time.time(),
            "why": why,
            "kept_as": None if target is None else _text(target),
        }
        self._make(self._folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self._reasons, flags, 0o600, dir_fd=self._root_fd)
        try:
            os.write(fd, msgspec.json.encode(line) + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)


def _text(path: bytes) -> str:
    """JSON holds no other bytes than UTF-8."""
    return path.decode("utf-8", "backslashreplace")
