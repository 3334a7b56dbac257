"""A volume that a daemon serves where this process does not see it: what to tell people, and what to do."""

from __future__ import annotations

from pathlib import Path

from twinfs.daemon import mounts
from twinfs.daemon.find import canonical


def why_not_here(volume: str, pid: int | None, mountpoint: str) -> str | None:
    """None where the mount is here. `pid` and `mountpoint` are what the volume's daemon says."""
    if mounts.twinfs_at(canonical(mountpoint)) is not None:
        return None
    if _has(Path("/proc/self/mountinfo"), mountpoint):
        return f"volume {volume} is mounted at {mountpoint} by process {pid}, but another mount covers it"
    if _has(Path(f"/proc/{pid}/mountinfo"), mountpoint) or not Path(f"/proc/{pid}").exists():
        return (
            f"volume {volume} is mounted at {mountpoint} in another mount namespace, by process {pid};"
            " there is nothing of it here.\n"
            f"  Unmount it there: nsenter --mount --target {pid} twinfs umount {volume}\n"
            f"  Or end its daemon, which unmounts and drains: kill {pid}"
        )
    return (
        f"volume {volume} is unmounted from {mountpoint}, but process {pid} still serves programs"
        f" that have it open.\n  End those programs; or end it, which drains: kill {pid}"
    )


def _has(mountinfo: Path, mountpoint: str) -> bool:
    try:
        table = mounts.read(mountinfo)
    except OSError:
        return False
    ours = (mount for mount in table if mount.filesystem_type == mounts.FILESYSTEM_TYPE)
    return any(mount.mountpoint == mountpoint for mount in ours)
