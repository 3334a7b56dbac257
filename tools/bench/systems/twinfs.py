"""A twinfs volume in each of its modes, driven through the command line."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tools.bench.mounts import run
from tools.bench.space import Place
from tools.bench.systems.base import Settled
from tools.bench.systems.mounted import Mounted

INTERVAL = "5s"
_TWINFS = Path(sys.executable).parent / "twinfs"
_VOLUME = "bench"


class TwinfsSync(Mounted):
    """Both legs have a change when the caller is answered: there is nothing to settle."""

    name = "twinfs sync"
    mode_options: tuple[str, ...] = ("--mode", "sync")

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._is_initialised = False
        # Nothing of a real installation is read or written.
        self._env = {
            f"TWINFS_{what.upper()}_DIR": str(place.state / what) for what in ("config", "state", "run")
        }

    @classmethod
    def missing(cls) -> str | None:
        return None if _TWINFS.exists() else "twinfs is not installed beside this Python"

    def start(self) -> None:
        if not self._is_initialised:
            self._init()
            self._is_initialised = True
        self.serve(_TWINFS, "mount", _VOLUME, self.place.mountpoint, "--foreground", env=self._env)

    def _init(self) -> None:
        primary, secondary = self.place.primary, self.place.secondary
        adopt = any(primary.iterdir())
        if adopt:
            run("cp", "-a", f"{primary}/.", secondary)
        options = (*self.mode_options, *(["--adopt"] if adopt else []))
        self._twinfs("init", primary, secondary, "--name", _VOLUME, *options)
        [settings] = (self.place.state / "config").rglob(f"{_VOLUME}.toml")
        # A phase that unlinks all that it made is meant.
        with settings.open("a") as file:
            file.write('max_delete = "100%"\n')

    def _twinfs(self, *words: str | Path) -> None:
        run(_TWINFS, *words, env=self._env)


class TwinfsBatched(TwinfsSync):
    """The secondary follows every few seconds; what is left at the end of a phase is the drain."""

    name = "twinfs batched"
    mode_options = ("--mode", "batched", "--interval", INTERVAL)

    def settle(self) -> Settled:
        """The time of the command as a user sees it, its own start included."""
        begin = time.perf_counter()
        self._twinfs("sync", _VOLUME)
        return Settled(drain_seconds=time.perf_counter() - begin)
