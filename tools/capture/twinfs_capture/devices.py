"""Which disks a path or device is on, and who uses a device: sysfs and /proc/self/mountinfo.

Sources: Documentation/ABI/stable/sysfs-block of the kernel, proc_pid_mountinfo(5), proc_swaps(5).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_DEVICES = Path("/sys/dev/block")
_BLOCK = Path("/sys/class/block")
_BTRFS = Path("/sys/fs/btrfs")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of mountinfo. `device` is "major:minor" as stat(2) gives it for files there."""

    device: str
    mountpoint: str
    kind: str
    source: str


def mounts() -> list[Mount]:
    found = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        before, _, after = line.partition(b" - ")
        words, tail = before.split(b" "), after.split(b" ")
        found.append(Mount(words[2].decode(), _unescape(words[4]), tail[0].decode(), _unescape(tail[1])))
    return found


def _unescape(word: bytes) -> str:
    """Space, tab, newline and backslash are octal there."""
    for octal in (b"\\040", b"\\011", b"\\012", b"\\134"):
        word = word.replace(octal, bytes([int(octal[1:], 8)]))
    return os.fsdecode(word)


def device_number(path: str | Path) -> str | None:
    """ "major:minor" of a block device, None for anything else."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return _number(info.st_rdev) if stat.S_ISBLK(info.st_mode) else None


def device_beneath(path: Path) -> str | None:
    """ "major:minor" of the block device that holds a file or directory; None: no device (tmpfs, network)."""
    number = _number(os.stat(path).st_dev)
    if (_DEVICES / number).exists():
        return number
    # btrfs and its kin give their own numbers out; the mount's source is a device.
    return next((device_number(mount.source) for mount in mounts() if mount.device == number), None)


def disks_beneath(number: str, *, through_loops: bool) -> set[str]:
    """Names of the whole disks below a device: of a partition, and through LVM, RAID and encryption.

    `through_loops`: the disk that holds a loop device's file as well.
    """
    return set(_disks(_name(number), through_loops, depth=0))


def _disks(name: str, through_loops: bool, depth: int) -> Iterator[str]:
    if depth > 16:
        return
    directory = (_BLOCK / name).resolve()
    if (directory / "partition").exists():
        directory = directory.parent
    yield directory.name
    for slave in _entries(directory / "slaves"):
        yield from _disks(slave, through_loops, depth + 1)
    file = backing_file(directory.name)
    if through_loops and file is not None and file.exists():
        beneath = device_beneath(file)
        if beneath is not None:
            yield from _disks(_name(beneath), through_loops, depth + 1)


def backing_file(name: str) -> Path | None:
    """The file behind a loop device (by its kernel name)."""
    try:
        return Path((_BLOCK / name / "loop" / "backing_file").read_text().rstrip("\n"))
    except OSError:
        return None


def loops_over(file: Path) -> list[str]:
    """Kernel names of the loop devices whose file this is."""
    found = []
    for name in _entries(_BLOCK):
        behind = backing_file(name) if name.startswith("loop") else None
        if behind is not None and behind.exists() and behind.samefile(file):
            found.append(name)
    return found


def overlap(one: str, other: str) -> bool:
    """Whether two devices share sectors: the same, or a disk and its partition."""
    first, second = (_DEVICES / one).resolve(), (_DEVICES / other).resolve()
    return first == second or first in second.parents or second in first.parents


def uses(number: str) -> list[str]:
    """Who uses a device, one of its partitions, or what is made of them: mount points, swap, btrfs."""
    names = set(_family(_name(number), depth=0))
    for members in [set(_entries(entry / "devices")) for entry in _paths(_BTRFS)]:
        if members & names:
            names |= members
    numbers = {(_BLOCK / name / "dev").read_text().strip(): name for name in names}
    found = []
    for mount in mounts():
        name = numbers.get(mount.device) or numbers.get(device_number(mount.source) or "")
        if name is not None:
            found.append(f"/dev/{name} is mounted at {mount.mountpoint}")
    for line in Path("/proc/swaps").read_text().splitlines()[1:]:
        name = numbers.get(device_number(line.split()[0]) or "")
        if name is not None:
            found.append(f"/dev/{name} is used as swap")
    return found


def _family(name: str, depth: int) -> Iterator[str]:
    """The device, its partitions, and all that is stacked upon them."""
    if depth > 16:
        return
    directory = (_BLOCK / name).resolve()
    yield name
    for holder in _entries(directory / "holders"):
        yield from _family(holder, depth + 1)
    for entry in _paths(directory):
        if (entry / "partition").exists():
            yield from _family(entry.name, depth + 1)


def is_claimed(path: Path) -> bool:
    """Whether the kernel holds it for itself (mounted elsewhere, RAID, LVM, swap): O_EXCL in open(2)."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError:
        return True
    return False


def mount_of(path: Path) -> Mount | None:
    """The mount that holds a path, as far as mountinfo shows it."""
    whole = os.path.realpath(path)
    best = None
    for mount in mounts():
        point = mount.mountpoint.rstrip("/") + "/"
        if (whole + "/").startswith(point) and (
            best is None or len(mount.mountpoint) >= len(best.mountpoint)
        ):
            best = mount
    return best


def _name(number: str) -> str:
    return (_DEVICES / number).resolve().name


def _number(device: int) -> str:
    return f"{os.major(device)}:{os.minor(device)}"


def _entries(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _paths(directory: Path) -> list[Path]:
    return [directory / name for name in _entries(directory)]
