"""The kernel's own mirror: btrfs raid1 on two loop devices."""

from __future__ import annotations

from pathlib import Path

from tools.bench.mounts import run, unmount
from tools.bench.space import IMAGE_BYTES
from tools.bench.systems.base import System, without


class BtrfsRaid1(System):
    """Data and metadata twice. What the primary holds already is copied in."""

    name = "btrfs raid1"

    @classmethod
    def missing(cls) -> str | None:
        return without("mkfs.btrfs", "btrfs-progs", is_for_root=True)

    @property
    def root(self) -> Path:
        return self.place.mountpoint

    @property
    def _images(self) -> list[Path]:
        return [self.place.base / f"raid{number}.img" for number in (1, 2)]

    def start(self) -> None:
        is_new = not self._images[0].exists()
        if is_new:
            for image in self._images:
                with image.open("wb") as file:
                    file.truncate(IMAGE_BYTES)
        devices = [run("losetup", "--find", "--show", image).strip() for image in self._images]
        try:
            if is_new:
                run("mkfs.btrfs", "-q", "-f", "-d", "raid1", "-m", "raid1", *devices)
            # One that was there a moment ago is not known under its new identity.
            run("btrfs", "device", "scan", *devices)
            run("mount", "-o", f"device={devices[1]}", devices[0], self.root)
        finally:
            # From now on they go with the mount, whoever takes it away.
            for device in devices:
                run("losetup", "-d", device)
        if is_new:
            run("cp", "-a", f"{self.place.primary}/.", self.root)

    def stop(self) -> None:
        unmount(self.root)

    def abandon(self) -> None:
        """Nothing runs."""
