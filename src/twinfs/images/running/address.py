"""What `qmp:` means: `qmp:NAME`, `qmp:NAME/DRIVE`, `qmp:/path/of/a/socket`. And which machine has an image.

The first two are machines of `twinfs-qemu run`, which keeps each one's files in RUN/qemu/machines/NAME.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from twinfs.errors import ImageError

PREFIX: Final = "qmp:"
SERVER_NAME: Final = "snapshots.sock"


@dataclass(frozen=True, slots=True)
class RunningDisk:
    shown: str
    """As the user named it."""
    monitor: Path
    server: Path
    """The socket on which snapshots of this machine are read."""
    drive: str | None
    """None: the machine's first disk."""


class _Machine(msgspec.Struct):
    """What twinfs-qemu writes of a machine; the rest is of no use here."""

    name: str
    disk: str


def machines_directory(run_directory: Path) -> Path:
    return run_directory / "qemu" / "machines"


def parse(text: str, run_directory: Path) -> RunningDisk | None:
    """None for what is an ordinary path. Raises ImageError where no such machine can be asked."""
    if not text.startswith(PREFIX):
        return None
    name = text.removeprefix(PREFIX)
    if name.startswith("/"):
        return _of_socket(text, Path(name), run_directory)
    name, _, drive = name.partition("/")
    directory = machines_directory(run_directory) / name
    monitor = directory / "qmp.sock"
    if name in ("", ".", "..") or not monitor.exists():
        raise ImageError(f"{text}: no machine {name} runs\n  those that do: twinfs-qemu list")
    return RunningDisk(text, monitor, directory / SERVER_NAME, drive or None)


def _of_socket(text: str, monitor: Path, run_directory: Path) -> RunningDisk:
    if not monitor.is_socket():
        raise ImageError(f"{text}: no socket\n  QEMU makes one with -qmp unix:{monitor},server=on,wait=off")
    # Beside it may be no place that we may write to.
    digest = hashlib.sha256(os.fsencode(monitor.resolve())).hexdigest()[:16]
    return RunningDisk(text, monitor, run_directory / "qemu" / "snapshots" / f"{digest}.sock", None)


def machine_with(image: str, run_directory: Path) -> str | None:
    """The name of the machine of `twinfs-qemu` that runs from this image."""
    directory = machines_directory(run_directory)
    try:
        found = sorted(directory.glob("*/machine.json"))
    except OSError:
        return None
    for path in found:
        try:
            machine = msgspec.json.decode(path.read_bytes(), type=_Machine)
            if os.path.samefile(machine.disk, image):
                return machine.name
        except (OSError, msgspec.DecodeError):
            # Just ending, or another user's.
            continue
    return None
