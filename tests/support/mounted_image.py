"""Images mounted by the command, as a user would."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from support.images import MIB, blank, tool
from support.machine import is_mounted, run
from support.volume import twinfs_command, wait_until


class Mounted:
    def __init__(
        self,
        image: Path,
        mountpoint: Path,
        state: Path,
        prefix: tuple[str, ...] = (),
        words: tuple[str | Path, ...] = (),
    ) -> None:
        self.path = mountpoint
        mountpoint.mkdir(exist_ok=True)
        environment = {"TWINFS_STATE_DIR": str(state), "TWINFS_CONFIG_DIR": str(state)}
        self.log = state / "images.log"
        run(*prefix, *twinfs_command(), "image", "mount", image, mountpoint, *words, env=environment)

    def end(self) -> None:
        if is_mounted(self.path):
            run("umount", "--lazy", self.path)


def readers_of(image: Path) -> list[int]:
    """Processes of ours that have the image open and take no requests from the kernel."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_reader = b"twinfs.images.worker" in (process / "cmdline").read_bytes()
            if is_reader and any(Path(os.readlink(fd)) == image for fd in (process / "fd").iterdir()):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def user_of(overlay: Path) -> int | None:
    """The process that serves a mount with this overlay."""
    lock = overlay / "lock"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(Path(os.readlink(fd)) == lock for fd in (process / "fd").iterdir()):
                return int(process.name)
        except OSError:
            continue
    return None


def unmount(mounted: Mounted, overlay: Path) -> None:
    """And wait until all of it is in the overlay, which is then free."""
    run("umount", mounted.path)
    wait_until(lambda: user_of(overlay) is None, 60, "the overlay is still in use")


def kill(mounted: Mounted, overlay: Path) -> None:
    """As a crash would: nothing is unmounted, nothing is closed."""
    pid = user_of(overlay)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: user_of(overlay) is None, 60, "it is still there")
    run("umount", "--lazy", mounted.path)


def make_fat(path: Path, content: bytes) -> Path:
    tool("mkfs.vfat", "-F", "16", blank(path, 32 * MIB))
    source = path.with_name("file_for_fat")
    source.write_bytes(content)
    tool("mcopy", "-i", path, source, "::file.txt")
    return path
