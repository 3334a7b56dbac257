"""`twinfs-capture disks`."""

from __future__ import annotations

import shutil
import subprocess
from typing import Annotated

import msgspec
from cyclopts import Parameter

from twinfs.cli.talk import result, say
from twinfs.report import human, json_lines
from twinfs_capture.errors import CaptureError
from twinfs_capture.parameters import Json

_COLUMNS = "PATH,TYPE,SIZE,MODEL,SERIAL,TRAN,RM,HOTPLUG,RO,FSTYPE,LABEL,UUID,MOUNTPOINTS"


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A line of lsblk's JSON (util-linux 2.37 and later), and what hangs below it."""

    path: str
    type: str
    size: int | None = None
    model: str | None = None
    serial: str | None = None
    tran: str | None = None
    rm: bool = False
    hotplug: bool = False
    ro: bool = False
    fstype: str | None = None
    label: str | None = None
    uuid: str | None = None
    mountpoints: list[str | None] = []
    children: list[Device] = []

    @property
    def is_removable(self) -> bool:
        return self.rm or self.hotplug or self.tran in ("usb", "mmc", "ieee1394")


class _Listing(msgspec.Struct, frozen=True):
    blockdevices: list[Device]


def disks(
    *,
    every: Annotated[
        bool, Parameter(name="--all", help="Disks that are not removable as well.", negative=())
    ] = False,
    json: Json = False,
) -> int:
    """List removable disks and their partitions: what `twinfs-capture disk` could read.

    For example:

        twinfs-capture disks --all
    """
    found = [device for device in list_devices() if device.type in ("disk", "rom", "loop") and device.size]
    shown = [device for device in found if every or device.is_removable]
    for device in shown:
        result(_json(device) if json else _text(device))
    if not shown:
        hidden = len(found)
        say(f"no removable disk; {human.count(hidden, 'other disk')}: twinfs-capture disks --all")
    return 0


def list_devices() -> list[Device]:
    """Raises CaptureError."""
    lsblk = shutil.which("lsblk")
    if lsblk is None:
        raise CaptureError("lsblk is not installed: apt-get install util-linux")
    done = subprocess.run(
        [lsblk, "--json", "--bytes", "--output", _COLUMNS],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise CaptureError(f"lsblk failed: {done.stderr.decode(errors='replace').strip()}")
    return parse_listing(done.stdout)


def parse_listing(text: bytes) -> list[Device]:
    """Raises CaptureError for what is not lsblk's JSON."""
    try:
        return msgspec.json.decode(text, type=_Listing).blockdevices
    except msgspec.DecodeError as error:
        raise CaptureError(f"lsblk printed what is not understood: {error}") from error


def _text(device: Device) -> str:
    words = [device.path, human.size(device.size or 0), device.model, device.tran, device.serial]
    if device.ro:
        words.append("read-only")
    lines = [_with_contents("  ".join(word for word in words if word), device)]
    lines += [
        _with_contents(f"  {child.path}  {human.size(child.size or 0)}", child) for child in device.children
    ]
    return "\n".join(lines)


def _with_contents(text: str, device: Device) -> str:
    contents = [word for word in (device.fstype, device.label and f'"{device.label}"') if word]
    contents += [f"mounted at {point}" for point in device.mountpoints if point]
    return "  ".join([text, *contents])


def _json(device: Device) -> str:
    partitions: list[json_lines.Json] = [_fields(child) for child in device.children]
    return json_lines.line(
        {
            "type": "disk",
            **_fields(device),
            "model": device.model,
            "serial": device.serial,
            "transport": device.tran,
            "is_removable": device.is_removable,
            "is_read_only": device.ro,
            "partitions": partitions,
        }
    )


def _fields(device: Device) -> dict[str, json_lines.Json]:
    return {
        "path": device.path,
        "size_bytes": device.size or 0,
        "filesystem": device.fstype,
        "label": device.label,
        "uuid": device.uuid,
        "mountpoints": [point for point in device.mountpoints if point],
    }
