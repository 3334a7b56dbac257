"""A FUSE file system in C that mirrors nothing: what FUSE itself costs."""

from __future__ import annotations

from tools.bench.systems.base import without
from tools.bench.systems.mounted import Mounted


class Bindfs(Mounted):
    """With the options that it has by itself."""

    name = "bindfs"

    @classmethod
    def missing(cls) -> str | None:
        return without("bindfs", "bindfs")

    def start(self) -> None:
        self.serve("bindfs", "-f", self.place.primary, self.place.mountpoint)
