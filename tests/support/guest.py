"""A guest that boots within seconds without any disk: Debian's cloud kernel and a busybox."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from support.machine import tool

KEPT = Path(__file__).resolve().parents[2] / ".venv" / "guest"
"""vmlinux, uncompressed, which saves seconds under emulation; vmlinuz, as it is; and modules/*.ko."""

# In the order of loading: each needs those before it.
MODULES = (
    *("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci"),
    *("virtio_blk", "failover", "net_failover", "virtio_net", "button", "evdev"),
    *("fuse", "virtiofs"),
)

# Loaded by a test that wants them, in this order.
FILE_SYSTEMS = (
    *("cdrom", "crc-itu-t", "nls_ascii", "nls_cp437", "nls_utf8"),
    *("isofs", "udf", "fat", "vfat", "exfat"),
)

# The power button is answered as an init system does: a shutdown that does not wait for anybody.
_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for name in {modules}; do insmod /modules/$name.ko; done
ip link set lo up
echo 0 > /proc/sys/kernel/printk
if ! grep -q deaf /proc/cmdline; then
    (for event in /dev/input/event*; do
        if grep -q "Power Button" /sys/class/input/${{event##*/}}/device/name; then
            dd if=$event of=/dev/null bs=24 count=1 2>/dev/null
            poweroff -f -n
        fi
    done) &
fi
stty -echo
echo guest-is-up
exec sh
"""


def kernel(name: str = "vmlinux") -> Path:
    found = KEPT / name
    assert found.exists(), f"{found} is missing: make setup-test fetches it"
    return found


def make_initramfs(path: Path, more: Sequence[str] = ()) -> Path:
    """With `more` modules, which are there and not loaded.

    Format: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    busybox = Path(tool("busybox", "busybox-static")).read_bytes()
    files: list[tuple[str, int, bytes]] = [(name, 0o40755, b"") for name in _DIRECTORIES]
    files += [("init", 0o100755, _INIT.format(modules=" ".join(MODULES)).encode())]
    files += [("bin/busybox", 0o100755, busybox)]
    files += [(f"modules/{name}.ko", 0o100644, _module(name)) for name in (*MODULES, *more)]
    with path.open("wb") as archive:
        for number, (name, mode, content) in enumerate([*files, ("TRAILER!!!", 0, b"")], 1):
            fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
            header = b"070701" + b"".join(b"%08X" % field for field in fields)
            archive.write(_padded(header + name.encode() + b"\0") + _padded(content))
    return path


_DIRECTORIES = ("bin", "dev", "proc", "sys", "mnt", "modules", "tmp")


def _module(name: str) -> bytes:
    return (KEPT / "modules" / f"{name}.ko").read_bytes()


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


class Console:
    """The guest's shell, on the serial console's socket."""

    def __init__(self, path: Path, timeout: float = 60) -> None:
        self.seen = ""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(1)
        # A socket's path has 107 bytes at most.
        fd = os.open(path.parent, os.O_PATH)
        try:
            self._socket.connect(f"/proc/self/fd/{fd}/{path.name}")
        finally:
            os.close(fd)
        self._log = path.with_name("console.log")
        self._wait_for_boot(timeout)

    def _wait_for_boot(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while b"guest-is-up" not in self._log.read_bytes():
            assert time.monotonic() < deadline, f"no shell after {timeout} s: {self._log.read_text()[-3000:]}"
            time.sleep(0.1)

    def run(self, command: str, timeout: float = 120, check: bool = True) -> str:
        """What a command printed; it must succeed, unless `check` is false."""
        mark = f"end-{time.monotonic_ns()}"
        # The guest's echo of what it is told must not look like what it says.
        self._socket.sendall(f"echo begin''-{mark}; {command}; echo {mark[:4]}''{mark[4:]} $?\n".encode())
        deadline = time.monotonic() + timeout
        while not (found := re.search(rf"(?<!begin-){mark} (\d+)", self.seen)):
            assert time.monotonic() < deadline, f"{command}: no end after {timeout} s: {self.seen[-3000:]}"
            try:
                got = self._socket.recv(65536)
            except TimeoutError:
                continue
            assert got, f"{command}: the console has closed: {self.seen[-3000:]}"
            self.seen += got.decode(errors="replace")
        output, self.seen = self.seen[: found.start()], self.seen[found.end() :]
        assert not check or found[1] == "0", f"{command} ended with {found[1]}:\n{output}"
        return output.partition(f"begin-{mark}")[2].replace("\r", "").removeprefix("\n")

    def send(self, command: str) -> None:
        """Without waiting for anything: the guest may not be there to answer."""
        self._socket.sendall(command.encode() + b"\n")

    def close(self) -> None:
        self._socket.close()
