"""Which machines run: a directory each, held by a lock that QEMU itself inherits.

    RUN/NAME/lock            locked as long as the machine's QEMU lives, however it or its helper ends
    RUN/NAME/machine.json    what it is made of
    RUN/NAME/qmp.sock        its monitor
    RUN/NAME/console.sock    its serial console, and console.log what was said there
    RUN/NAME/snapshots.sock  where `twinfs image mount qmp:NAME` reads snapshots of its disks
    RUN/NAME/qemu.log        what QEMU had to complain of

A lock cannot be left behind as a process number can: a directory whose lock is free is what a killed run
has left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from twinfs.images.running.address import SERVER_NAME
from twinfs_qemu.errors import NotRunningError, RefusedError


class Description(msgspec.Struct, frozen=True):
    """What `list` tells of a machine."""

    name: str
    pid: int
    disk: str
    arch: str
    accelerator: str
    memory: str
    cpus: int
    net: str
    is_snapshot: bool
    forwards: tuple[str, ...] = ()
    started_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a machine's files are."""

    directory: Path

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    @property
    def description(self) -> Path:
        return self.directory / "machine.json"

    @property
    def monitor(self) -> Path:
        return self.directory / "qmp.sock"

    @property
    def console(self) -> Path:
        return self.directory / "console.sock"

    @property
    def console_log(self) -> Path:
        return self.directory / "console.log"

    @property
    def errors(self) -> Path:
        return self.directory / "qemu.log"

    @property
    def share(self) -> Path:
        return self.directory / "share.sock"

    @property
    def snapshots(self) -> Path:
        return self.directory / SERVER_NAME


def machines_directory(run_directory: Path) -> Path:
    return run_directory / "machines"


def claim(run_directory: Path, name: str) -> tuple[Place, int]:
    """A fresh directory and its lock's descriptor, for QEMU to inherit. RefusedError: NAME runs."""
    place = Place(machines_directory(run_directory) / name)
    place.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        fd = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _try_lock(fd):
            os.close(fd)
            raise RefusedError(
                f"{name} runs already\n  end it: twinfs-qemu stop {name}; or name this one: --name"
            )
        if _is_still(place.lock, fd):
            break
        # Between open and lock somebody has cleaned up what we opened.
        os.close(fd)
        place.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in place.directory.iterdir():
        if path != place.lock:
            path.unlink()
    return place, fd


def running(run_directory: Path) -> Iterator[tuple[Place, Description]]:
    """Every machine that runs; what killed ones have left is cleaned up on the way."""
    directory = machines_directory(run_directory)
    for name in sorted(os.listdir(directory)) if directory.is_dir() else ():
        place = Place(directory / name)
        if clean(place):
            continue
        description = read(place)
        # One that is only just being started has no description yet.
        if description is not None:
            yield place, description


def find(run_directory: Path, name: str) -> tuple[Place, Description]:
    """Raises NotRunningError."""
    for place, description in running(run_directory):
        if place.name == name:
            return place, description
    raise NotRunningError(f"no machine {name} runs\n  those that do: twinfs-qemu list")


def clean(place: Place) -> bool:
    """Remove what a machine that no longer runs has left; False if it runs."""
    try:
        fd = os.open(place.lock, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        # Made, but not claimed yet; or nothing of ours.
        return True
    try:
        if not _try_lock(fd):
            return False
        if _is_still(place.lock, fd):
            shutil.rmtree(place.directory)
        return True
    finally:
        os.close(fd)


def wait_until_ended(place: Place, seconds: float) -> bool:
    """Whether its QEMU has ended within that time."""
    deadline = time.monotonic() + seconds
    while not clean(place):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def write(place: Place, description: Description) -> None:
    temporary = place.description.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(description))
    temporary.rename(place.description)


def read(place: Place) -> Description | None:
    try:
        return msgspec.json.decode(place.description.read_bytes(), type=Description)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False
