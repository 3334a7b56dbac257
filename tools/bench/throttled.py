"""Disks with the speed of a spindle: loop devices under the kernel's blkio throttles."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.bench.errors import BenchError
from tools.bench.mounts import run

_V1 = Path("/sys/fs/cgroup/blkio")
_V2 = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))


@dataclass(frozen=True)
class Speed:
    """Of one device's reads; 0 is no limit."""

    bytes_per_second: int = 0
    requests_per_second: int = 0


class Throttle:
    """A control group of our own, with this process and all that it starts in it."""

    def __init__(self, group: Path, *, is_v1: bool) -> None:
        self._group = group
        self._is_v1 = is_v1

    def limit(self, device: str, speed: Speed) -> None:
        """Reads of that block device by whoever is in the group."""
        number = os.stat(device).st_rdev
        name = f"{os.major(number)}:{os.minor(number)}"
        if self._is_v1:
            for file, value in (
                ("read_bps", speed.bytes_per_second),
                ("read_iops", speed.requests_per_second),
            ):
                (self._group / f"blkio.throttle.{file}_device").write_text(f"{name} {value}\n")
        else:
            limits = (("rbps", speed.bytes_per_second), ("riops", speed.requests_per_second))
            words = " ".join(f"{key}={value or 'max'}" for key, value in limits)
            (self._group / "io.max").write_text(f"{name} {words}\n")


@contextlib.contextmanager
def throttle() -> Iterator[Throttle]:
    """BenchError where this machine has no such control groups, or they are not ours to use."""
    root, is_v1 = _where()
    group = root / f"twinfs-bench-{os.getpid()}"
    before = root / _own_group(is_v1=is_v1).lstrip("/")
    try:
        group.mkdir()
    except OSError as error:
        raise BenchError(f"{group}: no control group can be made: {error.strerror}") from error
    try:
        (group / "cgroup.procs").write_text(f"{os.getpid()}\n")
        yield Throttle(group, is_v1=is_v1)
    finally:
        (before / "cgroup.procs").write_text(f"{os.getpid()}\n")
        group.rmdir()


def _where() -> tuple[Path, bool]:
    if (_V1 / "cgroup.procs").exists():
        return _V1, True
    for root in _V2:
        controllers = root / "cgroup.subtree_control"
        if controllers.exists() and "io" in controllers.read_text().split():
            return root, False
    raise BenchError("no control group throttles reads here: neither v1's blkio nor v2's io is mounted")


def _own_group(*, is_v1: bool) -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if ("blkio" in controllers.split(",")) if is_v1 else not controllers:
            return path
    return "/"


@contextlib.contextmanager
def loop_device(image: Path, size_bytes: int) -> Iterator[str]:
    """A device over a new, sparse file."""
    with image.open("wb") as file:
        file.truncate(size_bytes)
    device = run("losetup", "--find", "--show", image).strip()
    try:
        yield device
    finally:
        run("losetup", "-d", device)
        image.unlink()


@contextlib.contextmanager
def mounted(device: str, directory: Path, *options: str) -> Iterator[Path]:
    directory.mkdir(exist_ok=True)
    run("mount", *options, device, directory)
    try:
        yield directory
    finally:
        run("umount", directory)
