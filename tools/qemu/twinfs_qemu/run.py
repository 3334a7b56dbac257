"""`twinfs-qemu run`."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from twinfs.cli.talk import result, say
from twinfs.errors import UsageError
from twinfs.report import json_lines
from twinfs_qemu.accel.choose import choose
from twinfs_qemu.errors import QemuError, RefusedError
from twinfs_qemu.formats import open_image
from twinfs_qemu.machine import state
from twinfs_qemu.machine.arguments import MACHINES
from twinfs_qemu.machine.firmware import NEEDED_BY, firmware_for
from twinfs_qemu.machine.settings import Forward, Settings
from twinfs_qemu.machine.start import Machine, end, start
from twinfs_qemu.machine.state import Place
from twinfs_qemu.machine.terminal import attach
from twinfs_qemu.parameters import Json, check_name, run_directory
from twinfs_qemu.programs import program
from twinfs_qemu.stop_signals import signals_raise

_DEVICE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_MEMORY = re.compile(r"[1-9][0-9]*[MGT]")


class Boot(StrEnum):
    DISK = "disk"
    CDROM = "cdrom"


def run(
    disk: Annotated[Path, Parameter(help="An image.")],
    /,
    *extra: Annotated[str, Parameter(help="After --, options of qemu's own.")],
    cdrom: Annotated[Path | None, Parameter(help="An ISO image in the drive.")] = None,
    boot: Annotated[Boot, Parameter(help="disk or cdrom (disk).")] = Boot.DISK,
    memory: Annotated[str, Parameter(help="Such as 512M or 4G (2G).")] = "2G",
    cpus: Annotated[int, Parameter(help="How many processors (2).", validator=Number(gte=1))] = 2,
    headless: Annotated[
        bool, Parameter(help="No window; the serial console is on this terminal.", negative=())
    ] = False,
    detach: Annotated[
        bool, Parameter(help="No window, and return when it runs; `console` talks to it.", negative=())
    ] = False,
    snapshot: Annotated[
        bool, Parameter(help="Leave the image as it is; what the guest writes is forgotten.", negative=())
    ] = False,
    uefi: Annotated[
        bool, Parameter(help="UEFI instead of a BIOS; it remembers in DISK.uefi.", negative=())
    ] = False,
    arch: Annotated[
        str, Parameter(help="x86_64, i386, aarch64, arm, ppc64, riscv64, s390x (x86_64).")
    ] = "x86_64",
    name: Annotated[str | None, Parameter(help="For list, stop, console, check (by the image).")] = None,
    net: Annotated[
        str, Parameter(help="user (no root), none, or a tap device of `twinfs-qemu net up` (user).")
    ] = "user",
    forward: Annotated[
        tuple[str, ...],
        Parameter(negative=(), help="HOST:GUEST, such as 2222:22: a port here leads into the guest."),
    ] = (),
    share: Annotated[
        Path | None, Parameter(help="A directory for the guest: mount -t virtiofs share /mnt (or 9p).")
    ] = None,
    image_format: Annotated[
        str | None, Parameter(name="--format", help="DISK's, where its name does not say it.")
    ] = None,
    json: Json = False,
) -> int:
    """Boot a disk image, or a CD-ROM with it.

    Says whether the processor runs the guest (KVM, where that was measured to be
    fast) or whether it is emulated (TCG). With --headless, Ctrl-] leaves the
    console and ends the machine as a power cut would; `twinfs-qemu stop` in another
    terminal shuts it down.

    For example:

        twinfs-qemu run disk.qcow2 --cdrom debian.iso --boot cdrom
        twinfs-qemu run disk.qcow2 --headless --forward 2222:22
        twinfs-qemu run usb_key.img --snapshot
        twinfs-qemu run disk.qcow2 -- -usb -device usb-tablet
    """
    chosen = check_name(name or _name_of(disk))
    if arch not in MACHINES:
        raise UsageError(f"--arch {arch}: one of {', '.join(MACHINES)}")
    if boot is Boot.CDROM and cdrom is None:
        raise UsageError("--boot cdrom: which one? --cdrom FILE")
    if cdrom is not None and not cdrom.exists():
        raise UsageError(f"--cdrom {cdrom} is not there")
    if not _MEMORY.fullmatch(memory):
        raise UsageError(f"--memory {memory}: such as 512M or 4G")
    if net not in ("user", "none") and not _DEVICE.fullmatch(net):
        raise UsageError(f"--net {net}: user, none, or the name of a tap device")
    if share is not None and not share.is_dir():
        raise UsageError(f"--share {share} is not a directory")
    program(f"qemu-system-{arch}")
    image = open_image(disk, image_format)
    settings = Settings(
        name=chosen,
        arch=arch,
        accelerator=choose(arch),
        disk=image,
        cdrom=cdrom,
        boots_cdrom=boot is Boot.CDROM,
        memory=memory,
        cpus=cpus,
        is_headless=headless or detach,
        is_snapshot=snapshot,
        firmware=firmware_for(arch, image.path, is_snapshot=snapshot) if uefi or arch in NEEDED_BY else None,
        net=net,
        forwards=tuple(parse_forward(words) for words in forward),
        share=share,
        extra=extra,
    )
    if settings.forwards and net != "user":
        raise UsageError("--forward goes with --net user; on a tap the guest has an address of its own")
    say(f"{chosen}: {settings.accelerator.reason}")
    return _run(settings, is_detached=detach, wants_json=json)


def _name_of(disk: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", disk.stem).lstrip("._-")[:64] or "box"


def parse_forward(words: str) -> Forward:
    """Raises UsageError."""
    host, _, guest = words.partition(":")
    if not (host.isdecimal() and guest.isdecimal() and 0 < int(host) < 65536 and 0 < int(guest) < 65536):
        raise UsageError(f"--forward {words}: such as 2222:22, a port here and one of the guest")
    return Forward(int(host), int(guest))


def _run(settings: Settings, *, is_detached: bool, wants_json: bool) -> int:
    place, lock_fd = state.claim(run_directory(), settings.name)
    try:
        _refuse_second_writer(settings)
        with signals_raise():
            machine = start(settings, place, lock_fd, is_detached=is_detached)
    except BaseException:
        os.close(lock_fd)
        state.clean(place)
        raise
    os.close(lock_fd)
    _report(settings, machine, wants_json=wants_json)
    if is_detached:
        # It is nobody's child from here on; Python would complain of it.
        machine.process.returncode = 0
        if machine.share is not None and machine.share.process is not None:
            machine.share.process.returncode = 0
        return 0
    return _stay(settings, machine)


def _refuse_second_writer(settings: Settings) -> None:
    """By name, before QEMU's locks refuse it: the message can say who has it."""
    for _, other in state.running(run_directory()):
        try:
            is_same = os.path.samefile(other.disk, settings.disk.path)
        except OSError:
            continue
        if is_same and not (other.is_snapshot and settings.is_snapshot):
            raise RefusedError(
                f"{settings.disk.path} is in use by the running machine {other.name};"
                " two at once would destroy it\n"
                f"  end that one first: twinfs-qemu stop {other.name}"
            )


def _report(settings: Settings, machine: Machine, *, wants_json: bool) -> None:
    if wants_json:
        fields: dict[str, json_lines.Json] = {
            "accelerator": settings.accelerator.name,
            "monitor": str(machine.place.monitor),
            "console": str(machine.place.console),
        }
        line = {"type": "machine", "name": settings.name, "pid": machine.process.pid, **fields}
        result(json_lines.line(line))
    for forward in settings.forwards:
        say(f"port {forward.host_port} of this machine's loopback leads to port {forward.guest_port}")
    if machine.share is not None:
        say(f"in the guest: mount -t {machine.share.kind} {_share_options(machine.share.kind)}share /mnt")


def _share_options(kind: str) -> str:
    return "-o trans=virtio " if kind == "9p" else ""


def _stay(settings: Settings, machine: Machine) -> int:
    """Until the guest powers off, or a signal ends it."""
    place: Place = machine.place
    try:
        with signals_raise():
            if settings.is_headless and not attach(place):
                say(f"{settings.name}: switched off")
                return 0
            code = machine.process.wait()
    finally:
        end(machine)
        words = ""
        with contextlib.suppress(FileNotFoundError):
            words = place.errors.read_text(errors="replace").strip()
        state.clean(place)
    if code != 0:
        raise QemuError(f"QEMU ended with {code}: {words or 'it said nothing'}")
    if words:
        print(words, file=sys.stderr)
    return 0
