"""A volume over a leg that can be broken, on its own ground: several can live side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from faults.daily_use import furnish
from faults.watching import wait_for, wait_for_state
from support.disks import Disk
from support.faultfs import FaultLayer
from support.volume import Volume
from twinfs.model import VolumeState

MakeDisk = Callable[[Path], Disk]


class Scene:
    """Each leg is a loop disk of a kind, or as a function of its path makes it, a fault layer ("faultfs"),
    or a plain directory ("dir").

    As a context manager: mounted, furnished and clean at the start, everything taken away at the end.
    """

    def __init__(
        self,
        base: Path,
        mode: str,
        kind: str | MakeDisk,
        *,
        first: str | MakeDisk = "dir",
        leg_timeout: str = "",
        settings: tuple[str, ...] = (),
        make_state: Callable[[Path], object] = lambda path: None,
    ) -> None:
        """`make_state` makes the place of the state directory, where that is a disk of its own. `settings`
        are more lines of the volume's TOML."""
        self._taken_out: list[Disk | FaultLayer] = []
        self.base = base
        base.mkdir(parents=True)
        self.first = base / "first"
        self.leg = base / "second"
        self.first_disk, self.first_layer = self._leg(self.first, first)
        self.disk, self.layer = self._leg(self.leg, kind)
        make_state(base / "pair/state")
        self.volume = Volume(base / "pair", mode, legs=(self.first, self.leg))
        self.mount = self.volume.mount
        self._settings = settings
        self._leg_timeout = leg_timeout or ("2s" if self.layer is not None else "20s")

    def _leg(self, path: Path, kind: str | MakeDisk) -> tuple[Disk | None, FaultLayer | None]:
        if kind == "dir":
            return None, None
        if kind == "faultfs":
            layer = FaultLayer(path.with_name(f"beneath-{path.name}"), path).start()
            self._taken_out.append(layer)
            return None, layer
        disk = (Disk(path, kind) if isinstance(kind, str) else kind(path)).put_in()
        self._taken_out.append(disk)
        if (path / "lost+found").exists():
            (path / "lost+found").rmdir()  # which the other leg may not have
        return disk, None

    def __enter__(self) -> Scene:
        try:
            self.volume.init()
            self.volume.configure(f'leg_timeout = "{self._leg_timeout}"', *self._settings)
            self.volume.mount_it()
            furnish(self.mount)
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
            for each in self._taken_out:
                if isinstance(each, Disk):
                    each.thaw()
                elif each.is_running:
                    each.thaw()
                    each.clear()
            self.volume.tear_down()
        finally:
            for each in self._taken_out:
                each.take_out()

    def put_back_first(self) -> None:
        """The first leg's disk, which failed: mounted anew, and in sync again."""
        disk = self.first_disk
        assert disk is not None
        disk.take_out()
        wait_for(lambda: _is_mounted_again(disk), "the failed disk is not let go of")
        wait_for_state(self.volume, VolumeState.CLEAN, 90)


def _is_mounted_again(disk: Disk) -> bool:
    try:
        disk.put_in()
    except AssertionError:
        disk.take_out()
        return False
    return True
