"""What the bench asks of each system that it compares."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from tools.bench.space import Place


@dataclass(frozen=True)
class Settled:
    """What it took until the secondary had the changes: `cost` counts as part of the measured time."""

    cost_seconds: float = 0.0
    drain_seconds: float | None = None


def without(program: str, package: str, *, is_for_root: bool = False) -> str | None:
    """What is said where a system cannot be measured: it is not installed by anything of ours."""
    if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
        return (
            f"{program} is not installed; to have it here: apt-get install --no-install-recommends {package}"
        )
    if is_for_root and os.geteuid() != 0:
        return "needs root"
    return None


class System(ABC):
    """One set-up in a fresh place. `start` and `stop` may be called several times, `abandon` at any time."""

    name: str

    def __init__(self, place: Place) -> None:
        self.place = place

    @classmethod
    def missing(cls) -> str | None:
        """Why this system cannot be measured here, or None."""
        return None

    @property
    @abstractmethod
    def root(self) -> Path:
        """The directory that the workloads use."""

    @property
    def daemon_pid(self) -> int | None:
        return None

    @abstractmethod
    def start(self) -> None:
        """Take over what the primary holds already, and make `root` usable."""

    def settle(self) -> Settled:
        """Called after each phase that changed something."""
        return Settled()

    @abstractmethod
    def stop(self) -> None:
        """Orderly; raises BenchError where that fails."""

    @abstractmethod
    def abandon(self) -> None:
        """End processes by force; mounts go with the place."""
