"""Who keeps a mount busy: "target is busy" alone sends people hunting."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from twinfs.daemon import mounts

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Holder:
    """A process and one thing of the mount that it uses, in words."""

    pid: int
    command: str
    what: str

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid}): {self.what}"


def find(mountpoint: str) -> list[Holder]:
    """One line a process that has its directory, program, a file or a mapping in the mount.

    Compares device numbers, not paths: a path says nothing about which of two mounts on top of
    each other is meant. Other users' processes are hidden from an ordinary user.
    """
    try:
        device = os.stat(mountpoint).st_dev
    except OSError:
        return []
    pids = sorted(int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())
    return [Holder(pid, _command(pid), what) for pid in pids if (what := _first_use(pid, device)) is not None]


def mounts_inside(mountpoint: str) -> list[str]:
    """Mounts on top of this one's directories: they keep it busy without any process."""
    top = mounts.at(mountpoint)
    if top is None:
        return []
    return [mount.mountpoint for mount in mounts.read() if mount.parent_id == top.mount_id]


def loop_devices(mountpoint: str) -> list[str]:
    """Loop devices over files inside the mount: the kernel holds these files, no process does."""
    prefix = mountpoint.rstrip("/") + "/"
    found = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            file = backing.read_text().strip()
        except OSError:
            continue  # detached meanwhile
        if file.startswith(prefix):
            found.append(f"/dev/{backing.parts[3]} over {file}")
    return sorted(found)


def other_namespaces(device: str) -> list[str]:
    """Processes in other mount namespaces where a mount with this "major:minor" is left, one of each.

    A namespace that was made while the volume was mounted has a copy of the mount, which unmounting
    here does not take away when the two do not share propagation; see mount_namespaces(7).
    """
    seen = {_namespace("self"), None}
    found = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit() or (namespace := _namespace(entry.name)) in seen:
            continue
        seen.add(namespace)
        try:
            is_there = any(mount.device == device for mount in mounts.read(entry / "mountinfo"))
        except OSError:
            continue  # ended meanwhile
        if is_there:
            found.append(f"{_command(int(entry.name))} (pid {entry.name}) and what shares its mounts")
    return found


def describe(mountpoint: str) -> str:
    """Everything that was found, one indented line each, or what to do when nothing was."""
    lines = [str(holder) for holder in find(mountpoint)]
    lines += [f"another mount: {inside}" for inside in mounts_inside(mountpoint)]
    lines += [f"loop device: {device}" for device in loop_devices(mountpoint)]
    if not lines and os.geteuid() != 0:
        lines = ["a process of another user, which only root can see"]
    return "\n".join(f"  {line}" for line in lines or ["nobody now; try again"])


def _first_use(pid: int, device: int) -> str | None:
    return next(_uses(_PROC / str(pid), device), None)


def _uses(process: Path, device: int) -> Iterator[str]:
    """What the process holds, most telling first. A process that ended meanwhile holds nothing."""
    for link, words in (("cwd", "works in"), ("root", "has its root in"), ("exe", "runs")):
        if _is_on(process / link, device):
            yield f"{words} {_target(process / link)}"
    try:
        descriptors = sorted((process / "fd").iterdir(), key=lambda entry: int(entry.name))
        for descriptor in descriptors:
            if _is_on(descriptor, device):
                yield f"has {_target(descriptor)} open"
        yield from _mapped(process, device)
    except OSError:
        return


def _mapped(process: Path, device: int) -> Iterator[str]:
    number = f"{os.major(device):02x}:{os.minor(device):02x}"
    for line in (process / "maps").read_bytes().splitlines():
        fields = line.split(None, 5)
        if fields[3].decode() == number:
            yield f"has {os.fsdecode(fields[5]) if len(fields) > 5 else 'a file'} mapped"


def _is_on(path: Path, device: int) -> bool:
    try:
        return os.stat(path).st_dev == device
    except OSError:
        return False


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return "a file"


def _namespace(pid: str) -> str | None:
    """None for every process that may not be looked at: these count as one, already seen."""
    try:
        return os.readlink(_PROC / pid / "ns" / "mnt")
    except OSError:
        return None


def _command(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        return "a process"
