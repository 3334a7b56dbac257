"""Another FUSE file system in C that mirrors nothing: it joins directories."""

from __future__ import annotations

from tools.bench.systems.base import without
from tools.bench.systems.mounted import Mounted


class Mergerfs(Mounted):
    """Over one directory, with the options that it has by itself."""

    name = "mergerfs"

    @classmethod
    def missing(cls) -> str | None:
        return without("mergerfs", "mergerfs")

    def start(self) -> None:
        self.serve("mergerfs", "-f", self.place.primary, self.place.mountpoint)
