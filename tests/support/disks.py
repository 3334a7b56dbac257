"""File systems of their own for legs: images on loop devices, which need root."""

from __future__ import annotations

from pathlib import Path

from support.machine import is_mounted, run, tool

_MAKERS = {
    "ext4": ("mkfs.ext4", "e2fsprogs", ("-q",)),
    "xfs": ("mkfs.xfs", "xfsprogs", ("-q", "-f")),
    "btrfs": ("mkfs.btrfs", "btrfs-progs", ("-q", "-f")),
}
SMALLEST_BYTES = {"ext4": 32 << 20, "xfs": 512 << 20, "btrfs": 256 << 20}


class Disk:
    """An image file with a file system, mounted at a directory, taken out and put back at will."""

    def __init__(self, directory: Path, kind: str = "ext4", size_bytes: int = 0) -> None:
        self.path = directory
        self.image = directory.with_name(directory.name + ".img")
        self.device: str | None = None
        directory.mkdir(parents=True, exist_ok=True)
        with open(self.image, "wb") as image:
            image.truncate(size_bytes or SMALLEST_BYTES[kind])
        maker, package, options = _MAKERS[kind]
        run(tool(maker, package), *options, self.image)

    def put_in(self) -> Disk:
        self.device = run(tool("losetup", "mount"), "--find", "--show", self.image).stdout.strip()
        run("mount", self.device, self.path)
        return self

    def take_out(self) -> None:
        """Unmounted and detached; the directory beneath stays, empty."""
        while is_mounted(self.path):
            if run("umount", self.path, check=False).returncode != 0:
                run("umount", "-l", self.path)
        if self.device is not None:
            run("losetup", "-d", self.device, check=False)
            self.device = None
