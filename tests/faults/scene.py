"""A volume over a leg that can be broken, on its own ground: several can live side by side."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from faults.daily_use import furnish
from faults.watching import wait_for_state
from support.disks import Disk
from support.faultfs import FaultLayer
from support.volume import Volume
from twinfs.model import VolumeState


class Scene:
    """The primary is a plain directory; the secondary a loop disk of a kind, or a fault layer ("faultfs").

    As a context manager: mounted, furnished and clean at the start, everything taken away at the end.
    """

    def __init__(self, base: Path, mode: str, kind: str) -> None:
        self.base, self.mode, self.kind = base, mode, kind
        self.disk: Disk | None = None
        self.layer: FaultLayer | None = None
        self.leg = base / "second"
        self.volume: Volume | None = None

    def __enter__(self) -> Scene:
        self.base.mkdir(parents=True)
        if self.kind == "faultfs":
            self.layer = FaultLayer(self.base / "beneath", self.leg).start()
        else:
            self.disk = Disk(self.leg, self.kind).put_in()
            if (self.leg / "lost+found").exists():
                (self.leg / "lost+found").rmdir()  # which the other leg, a plain directory, has not
        try:
            self.volume = Volume(self.base / "pair", self.mode, legs=(self.base / "first", self.leg))
            self.volume.init()
            if self.layer is not None:
                self.volume.configure('leg_timeout = "2s"')
            self.volume.mount_it()
            furnish(self.volume.mount)
            self.volume.sync()
            wait_for_state(self.volume, VolumeState.CLEAN)
        except BaseException:
            self._take_away()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._take_away()
        except AssertionError:
            if error is None:
                raise

    def _take_away(self) -> None:
        try:
            if self.layer is not None and self.layer.is_running:
                self.layer.clear()
            if self.disk is not None:
                self.disk.thaw()
            if self.volume is not None:
                self.volume.tear_down()
        finally:
            for each in (self.disk, self.layer):
                if each is not None:
                    each.take_out()
