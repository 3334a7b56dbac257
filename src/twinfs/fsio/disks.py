"""Whether two directories are on one disk, so that two copies are not taken for a mirror.

What cannot be told counts as apart: file systems without a block device (network, FUSE, memory). Two loop
devices are two disks, wherever their files are.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

_SYS_BLOCK = Path("/sys/dev/block")


def what_is_shared(first_fd: int, second_fd: int) -> str:
    """Such as "one file system" or "one disk (sda)"; empty where they are on two. Descriptors of directories
    that were opened for reading."""
    devices = [os.fstat(fd).st_dev for fd in (first_fd, second_fd)]
    if devices[0] == devices[1]:
        return "one file system"
    # btrfs gives each subvolume a number of its own: those share a disk, at least.
    shared = disks_of(first_fd) & disks_of(second_fd)
    return f"one disk ({', '.join(sorted(shared))})" if shared else ""


def disks_of(fd: int) -> set[str]:
    """The kernel's names of the whole disks beneath; none where they are not known."""
    device = os.fstat(fd).st_dev
    if not os.major(device):
        source = _source_of(fd)
        try:
            status = os.stat(source)
        except OSError:
            return set()
        if not stat.S_ISBLK(status.st_mode):
            return set()
        device = status.st_rdev
    return _whole_disks(_SYS_BLOCK / f"{os.major(device)}:{os.minor(device)}")


def _whole_disks(entry: Path) -> set[str]:
    """Of a block device's directory in sysfs: the disk of a partition, those beneath a device-mapper or md
    device (Documentation/ABI/stable/sysfs-block)."""
    try:
        place = entry.resolve(strict=True)
    except OSError:
        return set()
    if (place / "partition").exists():
        return _whole_disks(place.parent)
    slaves = list((place / "slaves").glob("*"))
    return set().union(*map(_whole_disks, slaves)) if slaves else {place.name}


def _source_of(fd: int) -> str:
    """What the mount of an open directory was made from; see proc(5), fdinfo and mountinfo."""
    found = re.search(r"^mnt_id:\s*(\d+)$", Path(f"/proc/self/fdinfo/{fd}").read_text(), re.MULTILINE)
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        before, _, after = os.fsdecode(line).partition(" - ")
        if found is not None and before.split(" ", 1)[0] == found[1]:
            return after.split(" ")[1]
    return ""
