"""Physical volumes as files, and volume groups over them made by LVM2's own tools, without device-mapper."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.machine import run, tool

SIZE_BYTES = 8 << 20
EXTENT_BYTES = 128 << 10
# Creating changes metadata only: nothing is activated, so nothing is zeroed.
CREATE = ("lvcreate", "--activate", "n", "--zero", "n", "--wipesignatures", "n", "--yes")


class Disks:
    """Files on loop devices, and an LVM that sees these and no others, and keeps its state beside them."""

    def __init__(self, directory: Path, devices: Sequence[str]) -> None:
        self.devices = list(devices)
        self._directory = directory
        accepted = ", ".join(f'"a|^{device}$|"' for device in devices)
        (directory / "lvm.conf").write_text(
            f'devices {{ filter = [ {accepted}, "r|.*|" ] use_devicesfile = 0 write_cache_state = 0\n'
            'external_device_info_source = "none" obtain_device_list_from_udev = 0 }\n'
            f'global {{ locking_dir = "{directory}" use_lvmpolld = 0 event_activation = 0 }}\n'
            "activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }\n"
            "backup { backup = 0 archive = 0 }\n"
        )

    def lvm(self, command: str, *words: str) -> str:
        environment = {"LVM_SYSTEM_DIR": str(self._directory), "LVM_SUPPRESS_FD_WARNINGS": "1"}
        return run(tool("lvm", "lvm2"), command, "--driverloaded", "n", *words, env=environment).stdout

    def create(self, *words: str) -> None:
        self.lvm(CREATE[0], *CREATE[1:], *words)

    def segments(self) -> list[dict[str, str]]:
        """What lvs prints of each segment: lv_name, seg_pe_ranges (DEVICE:FIRST-LAST ...) and more."""
        columns = "lv_name,lv_uuid,lv_size,segtype,stripes,stripe_size,seg_start_pe,seg_pe_ranges"
        output = self.lvm(
            "lvs", "--reportformat", "json", "--segments", "--units", "b", "--nosuffix", "-o", columns
        )
        return json.loads(output)["report"][0]["seg"]

    def first_extent_bytes(self) -> int:
        """Where the first disk's extents begin."""
        words = ("--noheadings", "--units", "b", "--nosuffix", "-o", "pe_start", self.devices[0])
        return int(self.lvm("pvs", *words))


@contextmanager
def disks(directory: Path, count: int, size_bytes: int = SIZE_BYTES) -> Iterator[Disks]:
    """Fresh files named pv0, pv1..., the first 8 MiB full of random bytes, on loop devices."""
    devices: list[str] = []
    try:
        for number in range(count):
            path = directory / f"pv{number}"
            with open(path, "wb") as file:
                file.write(os.urandom(min(size_bytes, SIZE_BYTES)))
                file.truncate(size_bytes)
            devices.append(run(tool("losetup", "mount"), "--find", "--show", path).stdout.strip())
        yield Disks(directory, devices)
    finally:
        for device in devices:
            run("losetup", "-d", device)


def contents(path_of: dict[str, Path], first_extent_bytes: int, segments: list[dict[str, str]]) -> bytes:
    """A logical volume's bytes, put together from what lvs printed of its segments."""
    found = b""
    for segment in sorted(segments, key=lambda item: int(item["seg_start_pe"])):
        stripes = []
        for text in segment["seg_pe_ranges"].split():
            device, _, extents = text.partition(":")
            first, last = map(int, extents.split("-"))
            start = first_extent_bytes + first * EXTENT_BYTES
            whole = path_of[device].read_bytes()
            stripes.append(whole[start : start + (last - first + 1) * EXTENT_BYTES])
        chunk = int(segment["stripe_size"]) or len(stripes[0])
        for at in range(0, len(stripes[0]), chunk):
            found += b"".join(stripe[at : at + chunk] for stripe in stripes)
    return found
