"""Machines that boot otherwise: from a CD-ROM, by UEFI, on another processor, as an ordinary user."""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path

import pytest

from support import guest
from support.images import tool as call
from support.machine import NOBODY_UID, needs_root, run
from support.volume import as_user_prefix, twinfs_command, wait_until
from tools.qemu.conftest import Machines

SYSLINUX = Path("/usr/lib")
CONFIGURATION = """serial 0
default linux
label linux
    kernel /vmlinuz
    append initrd=/initramfs console=ttyS0 quiet from-the-cdrom
"""


@pytest.mark.slow
@pytest.mark.deadline(300)
def test_a_guest_boots_from_a_cdrom_although_there_is_a_disk(machines, disk):
    iso = make_bootable(machines.base)
    small = ("--memory", "256M", "--cpus", "1")
    machines.qemu("run", disk, "--name", "box", "--detach", *small, *("--cdrom", iso, "--boot", "cdrom"))
    console = machines.console("box")
    assert "from-the-cdrom" in console.run("cat /proc/cmdline")
    # The disk is there, for whoever installs.
    console.run("mke2fs /dev/vda")
    machines.qemu("stop", "box")
    assert "p0 " in run(*twinfs_command(), "image", "info", disk).stdout


def make_bootable(base: Path) -> Path:
    tree = base / "disc"
    (tree / "isolinux").mkdir(parents=True)
    shutil.copy(guest.kernel("vmlinuz"), tree / "vmlinuz")
    guest.make_initramfs(tree / "initramfs")
    for name in ("ISOLINUX/isolinux.bin", "syslinux/modules/bios/ldlinux.c32"):
        shutil.copy(SYSLINUX / name, tree / "isolinux")
    (tree / "isolinux" / "isolinux.cfg").write_text(CONFIGURATION)
    iso = base / "boot.iso"
    loader = ("-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat")
    words = ("-as", "mkisofs", "-quiet", "-R", *loader, "-no-emul-boot", "-boot-load-size", "4")
    call("xorriso", *words, "-boot-info-table", "-o", iso, tree)
    return iso


@pytest.mark.slow
@pytest.mark.deadline(600)
def test_a_guest_that_uefi_boots_finds_what_it_told_the_firmware_before(machines, disk):
    guest.make_initramfs(machines.initramfs, ["efivarfs"])
    variable = "/sys/firmware/efi/efivars/Kept-12345678-1234-1234-1234-123456789abc"
    mount = "insmod /modules/efivarfs.ko; mount -t efivarfs e /sys/firmware/efi/efivars"
    small = ("--memory", "512M", "--cpus", "1", "--uefi")
    for round_number in range(2):
        words = machines.linux(kernel_name="vmlinuz")
        machines.qemu("run", disk, "--name", "box", "--detach", *small, *words)
        console = machines.console("box", timeout=240)
        console.run(mount)
        if round_number == 0:
            console.run(f"printf '\\007\\000\\000\\000kept' > {variable}")
        else:
            assert "kept" in console.run(f"tail -c 4 {variable}")
        machines.qemu("stop", "box")


@pytest.mark.deadline(240)
def test_another_processor_is_emulated_as_far_as_its_firmware_speaks(machines, disk):
    options = ("--arch", "aarch64", "--detach", "--memory", "256M", "--cpus", "1")
    said = machines.qemu("run", disk, "--name", "box", *options).stderr
    assert "emulated: this machine is x86_64, not aarch64" in said
    log = machines.directory("box") / "console.log"
    wait_until(lambda: "UEFI" in log.read_text(errors="replace"), 180, "its firmware said nothing")
    [machine] = machines.list()
    assert (machine["arch"], machine["accelerator"]) == ("aarch64", "tcg")
    machines.qemu("stop", "box", "--timeout", "0")
    assert disk.with_name("disk.qcow2.uefi").exists()


@pytest.fixture
def nobody(workspace):
    """An ordinary user with machines of their own."""
    base = workspace / "home"
    base.mkdir()
    os.chown(base, NOBODY_UID, NOBODY_UID)
    found = Machines(base, as_user_prefix(NOBODY_UID))
    yield found
    found.end()


@needs_root
@pytest.mark.deadline(240)
def test_a_port_leads_into_the_guest_of_an_ordinary_user_who_may_look_into_its_disk(nobody):
    shared = nobody.base / "shared"
    shared.mkdir()
    disk = nobody.base / "disk.qcow2"
    nobody.qemu("create", disk, "64M")
    guest.make_initramfs(nobody.initramfs)
    port = free_port()
    options = ("--forward", f"{port}:80", "--share", shared)
    console = nobody.boot("box", disk, *options)
    # Without root there is no virtiofs. This kernel has no 9p, but sees such a device (virtio's number 9).
    assert "0x0009" in console.run("cat /sys/bus/virtio/devices/*/device")
    console.run("ip a add 10.0.2.15/24 dev eth0 && ip link set eth0 up && ip r add default via 10.0.2.2")
    console.run("echo hello from inside > /tmp/page && httpd -p 80 -h /tmp")
    assert fetch(port, "/page") == b"hello from inside\n"
    [machine] = nobody.list()
    assert machine["forwards"] == [f"{port}:80"]

    console.run("mke2fs /dev/vda && mount -t ext4 /dev/vda /mnt && echo kept > /mnt/letter")
    console.run("dd if=/dev/null of=/mnt/letter oflag=append conv=notrunc,fsync 2>&1")
    words = (*nobody.prefix, *twinfs_command(), "image", "cat", "qmp:box", "/p0/letter")
    assert run(*words, env=nobody.twinfs_env).stdout == "kept\n"
    # Root finds it by its monitor, and QEMU takes a file of root's for what the guest overwrites.
    monitor = nobody.directory("box") / "qmp.sock"
    root = {"TWINFS_RUN_DIR": str(nobody.base.parent / "root")}
    assert run(*twinfs_command(), "image", "cat", f"qmp:{monitor}", "/p0/letter", env=root).stdout == "kept\n"
    nobody.qemu("stop", "box")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fetch(port: int, path: str) -> bytes:
    """What the guest's web server says; it may need a moment."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as end:
                end.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                got = b"".join(iter(lambda: end.recv(65536), b""))
        except OSError:
            got = b""
        head, _, body = got.partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.") and b" 200 " in head:
            return body
        assert time.monotonic() < deadline, got
        time.sleep(0.5)
