"""`qmp:NAME`: the disk of a guest that runs, looked at as it was at one moment."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from support.machine import is_mounted, needs_root, run
from support.volume import is_running, twinfs_command, wait_until
from tools.qemu.conftest import Machines, wait_until_gone
from twinfs.images.running.monitor import Monitor

_WRITE = "printf {text} > /tmp/text; dd if=/tmp/text of=/mnt/{name} conv=fsync 2>&1"


class Looking:
    """`twinfs image` beside the machines; its mounts are taken down in the end."""

    def __init__(self, machines: Machines) -> None:
        self.machines = machines
        self.mountpoints: list[Path] = []

    def image(self, *words, check: bool = True):
        return run(*twinfs_command(), "image", *words, env=self.machines.twinfs_env, check=check)

    def mount(self, what: str) -> Path:
        mountpoint = self.machines.base / f"mnt{len(self.mountpoints)}"
        mountpoint.mkdir()
        self.mountpoints.append(mountpoint)
        self.image("mount", what, mountpoint)
        return mountpoint

    def unmount(self, mountpoint: Path) -> None:
        pid = self.server_of(mountpoint)
        run("umount", mountpoint)
        wait_until_gone(pid)

    def server_of(self, mountpoint: Path) -> int:
        """The process that serves it, by its command line."""
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if os.fsencode(mountpoint) in words and b"mount" in words:
                return int(name)
        raise AssertionError(f"nobody serves {mountpoint}")

    def end(self) -> None:
        for mountpoint in self.mountpoints:
            if is_mounted(mountpoint):
                run("umount", "-l", mountpoint, check=False)


@pytest.fixture
def looking(machines):
    found = Looking(machines)
    yield found
    found.end()


def left_in_qemu(machines: Machines, name: str) -> list[str]:
    with Monitor(machines.directory(name) / "qmp.sock") as monitor:
        asked = [monitor.ask(f"query-{each}") for each in ("block-jobs", "block-exports", "fdsets")]
        assert asked == [[], [], []]
        nodes = monitor.ask("query-named-block-nodes")
    return [node["node-name"] for node in nodes if not node["node-name"].startswith("#")]


def write(console, name: str, text: str) -> None:
    console.run(_WRITE.format(text=text, name=name))


@pytest.mark.deadline(300)
def test_a_guest_goes_on_while_its_disk_is_looked_at_as_it_was(machines, disk, looking):
    second = machines.base / "second.img"
    machines.qemu("create", second, "16M")
    drive = ("-drive", f"if=none,id=more,format=raw,file={second}", "-device", "virtio-blk,drive=more")
    machines.qemu(
        *("run", disk, "--name", "box", "--detach", "--memory", "256M", "--cpus", "1"),
        *(*machines.linux(), *drive),
    )
    console = machines.console("box")
    console.run("mke2fs /dev/vda && mount -t ext4 /dev/vda /mnt && mke2fs -L more /dev/vdb")
    write(console, "A", "before")

    for command, *words in (("ls",), ("cat", "/p0/A"), ("info",), ("extract", "/", machines.base)):
        refused = looking.image(command, disk, *words, check=False)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "twinfs image mount qmp:box MOUNTPOINT" in refused.stderr
    assert looking.image("cat", "qmp:box", "/p0/A").stdout == "before"
    assert " more " in looking.image("info", "qmp:box/more").stdout

    first = looking.mount("qmp:box")
    assert (first / "p0" / "A").read_text() == "before"
    write(console, "A", "after")
    write(console, "B", "new")
    second_look = looking.mount("qmp:box")
    write(console, "A", "last")
    console.run("dd if=/dev/urandom of=/mnt/noise bs=1M count=4 conv=fsync 2>&1")
    assert sorted(path.name for path in (second_look / "p0").iterdir()) == ["A", "B", "lost+found"]
    assert [(second_look / "p0" / name).read_text() for name in "AB"] == ["after", "new"]
    assert sorted(path.name for path in (first / "p0").iterdir()) == ["A", "lost+found"]
    assert (first / "p0" / "A").read_text() == "before"

    looking.unmount(first)
    assert (second_look / "p0" / "B").read_text() == "new"
    pid = looking.server_of(second_look)
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)
    # Whoever looks next takes away what that has left.
    wait_until(lambda: bool(machines.list()) and left_in_qemu(machines, "box") == [], 60, "something is left")
    run("umount", "-l", second_look)
    looking.unmount(looking.mount("qmp:box"))
    assert left_in_qemu(machines, "box") == []
    assert not (machines.directory("box") / "snapshots.sock").exists()

    write(console, "C", "end")
    digest = console.run("sha256sum < /mnt/noise").split()[0]
    console.run("umount /mnt")
    machines.qemu("stop", "box")
    run("qemu-img", "check", "-q", disk)
    run("e2fsck", "-fn", _as_raw(machines, disk))
    assert [looking.image("cat", disk, f"/p0/{name}").stdout for name in "ABC"] == ["last", "new", "end"]
    out = machines.base / "out"
    looking.image("extract", disk, "/p0/noise", out)
    assert digest in run("sha256sum", out).stdout


def _as_raw(machines: Machines, disk: Path) -> Path:
    raw = machines.base / "raw.img"
    machines.qemu("convert", disk, raw)
    return raw


@pytest.mark.deadline(180)
def test_a_machine_that_ends_while_it_is_looked_at_leaves_a_mount_that_fails_and_can_be_unmounted(
    machines, disk, looking
):
    machines.qemu("run", disk, "--name", "box", "--detach", "--memory", "64M")
    mountpoint = looking.mount("qmp:box")
    with (mountpoint / "disk.img").open("rb") as file:
        assert file.read(65536) == bytes(65536)
    [machine] = machines.list()
    os.kill(machine["pid"], signal.SIGKILL)
    wait_until_gone(machine["pid"])
    fd = os.open(mountpoint / "disk.img", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Input/output error") as caught:
            # Not what the kernel remembers.
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.pread(fd, 4096, 60 << 20)
        assert caught.value.errno == errno.EIO
    finally:
        os.close(fd)
    looking.unmount(mountpoint)
    assert machines.list() == []
    assert not machines.directory("box").exists()


def test_a_machine_by_the_socket_of_its_monitor_and_one_that_does_not_run(machines, disk, looking):
    machines.qemu("run", disk, "--name", "box", "--detach", "--memory", "64M")
    socket = machines.directory("box") / "qmp.sock"
    assert "qmp image, 64.0 MiB" in looking.image("info", f"qmp:{socket}").stdout
    assert not list((machines.run_dir / "qemu" / "snapshots").iterdir())
    for name, words in (("nobody", "no machine nobody runs"), ("/nowhere", "no socket")):
        refused = looking.image("ls", f"qmp:{name}", check=False)
        assert refused.returncode == 1
        assert words in refused.stderr
    mapped = looking.image("affected", "qmp:box", "--map", "x", check=False)
    assert (mapped.returncode, mapped.stdout) == (2, "")


@needs_root
@pytest.mark.slow
def test_a_block_device_that_a_machine_writes_to_is_refused_and_looked_at_by_its_name(machines, looking):
    file = machines.base / "file.img"
    file.write_bytes(bytes(16 << 20))
    device = Path(run("losetup", "--find", "--show", file).stdout.strip())
    try:
        machines.qemu("run", device, "--name", "box", "--detach", "--memory", "64M")
        refused = looking.image("info", device, check=False)
        assert refused.returncode == 1
        assert "twinfs image mount qmp:box" in refused.stderr
        assert "qmp image, 16.0 MiB" in looking.image("info", "qmp:box").stdout
        machines.qemu("stop", "box", "--timeout", "0")
        assert "raw image, 16.0 MiB" in looking.image("info", device).stdout
    finally:
        run("losetup", "--detach", device)


def test_a_machine_that_is_stopped_costs_an_error_and_no_hang(machines, disk, looking):
    machines.qemu("run", disk, "--name", "box", "--detach", "--memory", "64M")
    mountpoint = looking.mount("qmp:box")
    [machine] = machines.list()
    os.kill(machine["pid"], signal.SIGSTOP)
    try:
        with pytest.raises(OSError, match="Input/output error"):
            read_far(mountpoint)
    finally:
        os.kill(machine["pid"], signal.SIGCONT)
    wait_until(lambda: _is_read(mountpoint), 60, "it is not read again")
    looking.unmount(mountpoint)
    assert left_in_qemu(machines, "box") == []


def read_far(mountpoint: Path) -> bytes:
    """What nobody has read before."""
    with (mountpoint / "disk.img").open("rb") as file:
        return os.pread(file.fileno(), 4096, 40 << 20)


def _is_read(mountpoint: Path) -> bool:
    try:
        return read_far(mountpoint) == bytes(4096)
    except OSError:
        return False


def test_a_command_that_is_asked_to_end_leaves_no_snapshot(machines, disk, looking):
    machines.qemu("run", disk, "--name", "box", "--detach", "--memory", "64M")
    process = machines.start_beside(*twinfs_command(), "image", "cat", "qmp:box", "/disk.img")
    assert process.stdout is not None
    # It waits for somebody to read on.
    assert process.stdout.read(4096)
    process.terminate()
    process.stdout.close()
    process.wait(60)
    assert not is_running(process.pid)
    assert left_in_qemu(machines, "box") == []
