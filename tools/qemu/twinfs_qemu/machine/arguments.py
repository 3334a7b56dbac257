"""The command line of QEMU; pure, so that it can be read in a test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from twinfs_qemu.machine.settings import Settings
from twinfs_qemu.machine.state import Place

MACHINES = {
    "x86_64": "q35",
    "i386": "q35",
    "aarch64": "virt",
    "arm": "virt",
    "riscv64": "virt",
    "ppc64": "pseries",
    "s390x": "s390-ccw-virtio",
}


def arguments(settings: Settings, place: Place, *, share_kind: str | None = None) -> list[str]:
    """Without the program's own name."""
    accelerator = settings.accelerator.name
    words = ["-name", escape(settings.name), "-nodefaults", "-no-user-config"]
    machine = f"{MACHINES[settings.arch]},accel={accelerator}"
    if share_kind == "virtiofs":
        # The daemon that serves the directory reads and writes the guest's memory.
        words += ["-object", f"memory-backend-memfd,id=memory0,share=on,size={settings.memory}"]
        machine += ",memory-backend=memory0"
    words += ["-machine", machine, "-cpu", "host" if accelerator == "kvm" else "max"]
    words += ["-m", settings.memory, "-smp", str(settings.cpus)]
    # -nodefaults takes away the monitor as well; this is the only one.
    words += ["-chardev", f"socket,id=monitor0,server=on,wait=off,path={escape(place.monitor)}"]
    words += ["-mon", "chardev=monitor0,mode=control"]
    log = f"logfile={escape(place.console_log)}"
    words += ["-chardev", f"socket,id=console0,server=on,wait=off,path={escape(place.console)},{log}"]
    words += ["-serial", "chardev:console0"]
    words += [*_firmware(settings), *_disks(settings), *_net(settings), *_display(settings)]
    words += ["-device", "virtio-rng"]
    if share_kind is not None:
        words += _share(settings, place, share_kind)
    return [*words, *settings.extra]


def escape(value: str | Path) -> str:
    """QEMU's options end a value at a comma, and take two for one."""
    return str(value).replace(",", ",,")


def _disks(settings: Settings) -> Iterator[str]:
    """A snapshot is a file without a name, which the kernel takes away with QEMU."""
    # Indexes from 1 on: 0 is what -kernel takes.
    snapshot = ",snapshot=on" if settings.is_snapshot else ""
    file = f"file={escape(settings.disk.path)},format={settings.disk.format}"
    yield from ("-drive", f"if=none,id=disk0,discard=unmap,{file}{snapshot}")
    yield from ("-device", f"virtio-blk,drive=disk0,bootindex={2 if settings.boots_cdrom else 1}")
    if settings.cdrom is not None:
        file = f"file={escape(settings.cdrom.absolute())},format=raw"
        yield from ("-drive", f"if=none,id=cdrom0,media=cdrom,readonly=on,{file}")
        index = f"bootindex={1 if settings.boots_cdrom else 2}"
        if settings.arch in ("x86_64", "i386"):
            # What installers have a driver for.
            yield from ("-device", f"ide-cd,drive=cdrom0,{index}")
        else:
            yield from ("-device", "virtio-scsi", "-device", f"scsi-cd,drive=cdrom0,{index}")


def _firmware(settings: Settings) -> Iterator[str]:
    if settings.firmware is None:
        return
    code, variables = settings.firmware.code, settings.firmware.variables
    snapshot = ",snapshot=on" if settings.is_snapshot else ""
    yield from ("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={escape(code)}")
    yield from ("-drive", f"if=pflash,unit=1,format=raw,file={escape(variables)}{snapshot}")


def _net(settings: Settings) -> Iterator[str]:
    if settings.net == "none":
        return
    if settings.net == "user":
        forwards = "".join(
            f",hostfwd=tcp:127.0.0.1:{forward.host_port}-:{forward.guest_port}"
            for forward in settings.forwards
        )
        yield from ("-netdev", f"user,id=net0{forwards}")
        address = hardware_address(settings.name)
    else:
        yield from ("-netdev", f"tap,id=net0,ifname={settings.net},script=no,downscript=no,vhost=off")
        # The network's own, so that every guest on it gets the same lease.
        address = hardware_address(settings.net)
    # Without a ROM: it would boot from the network, and comes in another package.
    rom = "" if settings.arch == "s390x" else ",romfile="
    yield from ("-device", f"virtio-net,netdev=net0,mac={address}{rom}")


def hardware_address(name: str) -> str:
    """One that stays: a guest keeps its lease, and the name of its interface."""
    digest = hashlib.sha256(name.encode()).digest()
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in digest[:3])


def _display(settings: Settings) -> Iterator[str]:
    if settings.is_headless:
        yield from ("-display", "none")
    if settings.arch in ("x86_64", "i386"):
        yield from ("-vga", "std")
    elif settings.arch != "s390x" and not settings.is_headless:
        yield from ("-device", "virtio-gpu", "-device", "virtio-keyboard", "-device", "virtio-tablet")


def _share(settings: Settings, place: Place, kind: str) -> list[str]:
    assert settings.share is not None
    if kind == "virtiofs":
        chardev = f"socket,id=share0,path={escape(place.share)}"
        return ["-chardev", chardev, "-device", "vhost-user-fs-pci,chardev=share0,tag=share"]
    path = escape(settings.share.absolute())
    backend = f"local,id=share0,path={path},security_model=mapped-xattr"
    return ["-fsdev", backend, "-device", "virtio-9p-pci,fsdev=share0,mount_tag=share"]
