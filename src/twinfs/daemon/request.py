"""One mount as asked for."""

from __future__ import annotations

from dataclasses import dataclass

from twinfs.model import VolumeConfig


@dataclass(frozen=True, slots=True)
class MountRequest:
    """The settings, the place, and what the kernel is told."""

    config: VolumeConfig
    mountpoint: str
    fsname: str
    allow_other: bool
    options: tuple[str, ...] = ()
    is_degraded_ok: bool = False
