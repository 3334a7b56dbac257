"""No mirroring, and mirroring afterwards: the two ends between which a mirrored volume lies."""

from __future__ import annotations

import time
from pathlib import Path

from tools.bench.mounts import run
from tools.bench.systems.base import Settled, System, without


class Plain(System):
    """What everything is compared with."""

    name = "plain"

    @property
    def root(self) -> Path:
        return self.place.primary

    def start(self) -> None:
        """It is a directory."""

    def stop(self) -> None:
        """Nothing runs."""

    def abandon(self) -> None:
        """Nothing runs."""


class RsyncAfter(Plain):
    """The nightly habit: a plain directory, then `rsync -a --delete`, whose time is added."""

    name = "rsync"

    @classmethod
    def missing(cls) -> str | None:
        return without("rsync", "rsync")

    def settle(self) -> Settled:
        begin = time.perf_counter()
        run("rsync", "-a", "--delete", f"{self.place.primary}/", f"{self.place.secondary}/")
        return Settled(cost_seconds=time.perf_counter() - begin)
