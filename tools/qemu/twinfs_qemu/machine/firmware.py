"""UEFI firmware, as Debian has it."""

from __future__ import annotations

import shutil
from pathlib import Path

from twinfs.errors import UsageError
from twinfs_qemu.machine.settings import Firmware

_DEBIAN = {
    "x86_64": "ovmf",
    "aarch64": "qemu-efi-aarch64",
    "arm": "qemu-efi-arm",
}
_PLACES = {
    "x86_64": (
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ),
    "aarch64": (("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),),
    "arm": (("/usr/share/AAVMF/AAVMF32_CODE.fd", "/usr/share/AAVMF/AAVMF32_VARS.fd"),),
}
NEEDED_BY = frozenset({"aarch64", "arm"})
"""Machines that boot no disk without it."""


def firmware_for(arch: str, disk: Path, *, is_snapshot: bool) -> Firmware:
    """What it remembers is kept beside the disk, in DISK.uefi; a snapshot makes none. Raises UsageError."""
    if arch not in _PLACES:
        raise UsageError(f"--uefi: there is no such firmware for {arch} here")
    for code, template in _PLACES[arch]:
        if Path(code).exists() and Path(template).exists():
            variables = disk.with_name(disk.name + ".uefi")
            if not variables.exists():
                if is_snapshot:
                    return Firmware(Path(code), Path(template))
                shutil.copyfile(template, variables)
            return Firmware(Path(code), variables)
    raise UsageError(f"--uefi: the firmware for {arch} is not installed: apt-get install {_DEBIAN[arch]}")
