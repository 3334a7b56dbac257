"""What was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from twinfs_qemu.accel.choose import Accelerator
from twinfs_qemu.formats import Image


@dataclass(frozen=True, slots=True)
class Forward:
    """A port of this machine's loopback that leads to one of the guest."""

    host_port: int
    guest_port: int

    def __str__(self) -> str:
        return f"{self.host_port}:{self.guest_port}"


@dataclass(frozen=True, slots=True)
class Firmware:
    code: Path
    variables: Path
    """What the guest's firmware remembers, such as its boot entries."""


@dataclass(frozen=True, slots=True)
class Settings:
    name: str
    arch: str
    accelerator: Accelerator
    disk: Image
    cdrom: Path | None = None
    boots_cdrom: bool = False
    memory: str = "2G"
    cpus: int = 2
    is_headless: bool = False
    is_snapshot: bool = False
    firmware: Firmware | None = None
    net: str = "user"
    """"user", "none" or the name of a tap device."""
    forwards: tuple[Forward, ...] = ()
    share: Path | None = None
    extra: tuple[str, ...] = field(default=())
