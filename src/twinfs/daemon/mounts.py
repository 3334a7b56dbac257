"""The kernel's mount table, and taking a mount down. See proc(5) for mountinfo, umount(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from twinfs.errors import BusyError, MountError

FILESYSTEM_TYPE = "fuse.twinfs"

_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo. `device` is "major:minor", as in /proc/PID/maps and st_dev."""

    mount_id: int
    parent_id: int
    device: str
    mountpoint: str
    filesystem_type: str
    source: str


def read(mountinfo: Path = Path("/proc/self/mountinfo")) -> list[Mount]:
    """Every mount this process can see, in the order they were made."""
    text = os.fsdecode(mountinfo.read_bytes())
    return [_parse(line) for line in text.splitlines() if line]


def at(mountpoint: str) -> Mount | None:
    """What one meets at this exact path: the topmost of the mounts there, or None."""
    return next((mount for mount in reversed(read()) if mount.mountpoint == mountpoint), None)


def twinfs_at(mountpoint: str) -> Mount | None:
    """The topmost mount there if it is one of ours."""
    mount = at(mountpoint)
    return mount if mount is not None and mount.filesystem_type == FILESYSTEM_TYPE else None


def is_dead(mountpoint: str) -> bool:
    """Whether the mount's daemon has gone: the kernel then answers every question with ENOTCONN.

    Asked with statvfs, which the kernel never answers from its cache; stat(2) it does, for as long
    as attributes are valid, and that is long after the daemon died.
    """
    try:
        os.statvfs(mountpoint)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def clear_dead(mountpoint: str) -> bool:
    """Take down what a killed daemon of ours left at this path; True if there was something.

    Only a mount of our type that answers ENOTCONN is touched. Lazily, because programs that still
    hold files of it would otherwise keep the volume from ever being mounted again.
    """
    was_cleared = False
    while twinfs_at(mountpoint) is not None and is_dead(mountpoint):
        unmount(mountpoint, lazy=True)
        was_cleared = True
    return was_cleared


def unmount(mountpoint: str, *, lazy: bool = False) -> None:
    """Ask the kernel to take the topmost mount down. Raises BusyError, MountError."""
    if os.geteuid() == 0:
        _unmount_as_root(mountpoint, lazy=lazy)
    else:
        _unmount_as_user(mountpoint, lazy=lazy)


def _unmount_as_root(mountpoint: str, *, lazy: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)
    if libc.umount2(os.fsencode(mountpoint), flags) == 0:
        return
    number = ctypes.get_errno()
    if number == errno.EBUSY:
        raise BusyError(f"{mountpoint} is busy")
    raise MountError(f"{mountpoint} cannot be unmounted: {os.strerror(number)}")


def _unmount_as_user(mountpoint: str, *, lazy: bool) -> None:
    """fusermount3 is setuid: it lets users take down what they mounted, and nothing else."""
    command = ["fusermount3", "-u", *(["-z"] if lazy else []), "--", mountpoint]
    try:
        result = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"})
    except FileNotFoundError:
        raise MountError("fusermount3 is missing; install the package fuse3") from None
    if result.returncode == 0:
        return
    text = result.stderr.decode(errors="replace").strip()
    if "busy" in text:
        raise BusyError(f"{mountpoint} is busy")
    raise MountError(f"{mountpoint} cannot be unmounted: {text or 'fusermount3 gave no reason'}")


def _parse(line: str) -> Mount:
    fields = line.split(" ")
    # Optional fields of varying number end with a single dash; type and source follow it.
    dash = fields.index("-", 6)
    return Mount(
        mount_id=int(fields[0]),
        parent_id=int(fields[1]),
        device=fields[2],
        mountpoint=_unescape(fields[4]),
        filesystem_type=fields[dash + 1],
        source=_unescape(fields[dash + 2]),
    )


def _unescape(field: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)
