"""A QEMU without a guest: its monitor writes to the disk, the way a guest would."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.machine import run, tool
from support.volume import wait_until
from twinfs.images.running.address import RunningDisk
from twinfs.images.running.monitor import Monitor, MonitorError
from twinfs.images.running.using import Held
from twinfs.images.sources.nbd import NbdSource

DISK_BYTES = 32 << 20


class Qemu:
    """Two disks, `disk0` (qcow2) and `disk1` (raw); every byte of each is 1 in the beginning."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.monitor = base / "monitor.sock"
        self.images = (base / "disk.qcow2", base / "disk.img")
        for path in self.images:
            kind = "qcow2" if path.suffix == ".qcow2" else "raw"
            run(tool("qemu-img", "qemu-utils"), "create", "-q", "-f", kind, path, str(DISK_BYTES))
            run("qemu-io", "-f", kind, "-c", f"write -P 1 0 {DISK_BYTES}", path)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        words = [
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-machine",
            "q35,accel=tcg",
            "-m",
            "64M",
        ]
        words += ["-qmp", f"unix:{self.monitor},server=on,wait=off"]
        for number, path in enumerate(self.images):
            kind = "qcow2" if path.suffix == ".qcow2" else "raw"
            words += ["-drive", f"if=none,id=disk{number},file={path},format={kind}"]
            words += ["-device", f"virtio-blk,drive=disk{number},id=device{number}"]
        process = subprocess.Popen(
            [tool("qemu-system-x86_64", "qemu-system-x86"), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: self._answers(process), 60, "QEMU did not start")
        return process

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None
        try:
            with Monitor(self.monitor):
                return True
        except MonitorError:
            return False

    def ask(self, command: str, **arguments: Any) -> Any:
        with Monitor(self.monitor) as monitor:
            return monitor.ask(command, **arguments)

    def write(self, byte: int, offset: int, length: int, device: str = "device0") -> None:
        """As the guest: through the device's own way to the disk. Only `holds` tells whether it was done."""
        line = f"qemu-io -d /machine/peripheral/{device}/virtio-backend 'write -P {byte} {offset} {length}'"
        assert self.ask("human-monitor-command", command_line=line.replace("'", '"')) == ""

    def holds(self, byte: int, offset: int, length: int) -> bool:
        """Of disk0, when the machine has ended; and that the image is whole."""
        self.process.terminate()
        self.process.wait(60)
        run("qemu-img", "check", "-q", self.images[0])
        look = f"read -P {byte} {offset} {length}"
        done = run("qemu-io", "-r", "-f", "qcow2", "-c", look, self.images[0], check=False)
        assert "read " in done.stdout, done
        return done.returncode == 0

    def disk(self, drive: str | None = None) -> RunningDisk:
        return RunningDisk("qmp:it", self.monitor, self.base / "snapshots" / "it.sock", drive)

    def left(self) -> list[str]:
        """Whatever of a snapshot is still in QEMU."""
        graph = self.ask("x-debug-query-block-graph")
        found = [node["name"] for node in graph["nodes"] if "twinfs" in node["name"]]
        found += [each["id"] for each in self.ask("query-block-exports")]
        found += [each["name"] for each in self.ask("qom-list", path="/objects") if "twinfs" in each["name"]]
        found += [f"fdset {each['fdset-id']}" for each in self.ask("query-fdsets")]
        return found + [name for name in self._open_files() if name.endswith("(deleted)")]

    def _open_files(self) -> Iterator[str]:
        for path in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                yield str(path.readlink())
            except FileNotFoundError:
                # Closed meanwhile.
                continue

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def read(held: Held, offset: int, length: int = 1) -> bytes:
    source = NbdSource(held.export.connect(), held.export.name)
    try:
        return source.read_at(offset, length)
    finally:
        source.close()


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[Qemu]:
    made = Qemu(tmp_path)
    yield made
    made.end()
