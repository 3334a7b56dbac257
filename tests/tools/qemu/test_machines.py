"""Machines that run: their names, their ends, what they leave, and guests that really boot."""

from __future__ import annotations

import hashlib
import os
import re
import signal
from pathlib import Path

from support.machine import is_mounted, needs_root, run
from support.volume import is_running, twinfs_command, wait_until
from tools.qemu.conftest import wait_until_gone


def files_of(machines) -> list[str]:
    directory = machines.run_dir / "qemu" / "machines"
    return sorted(os.listdir(directory)) if directory.exists() else []


def test_a_guest_writes_a_file_system_is_shut_down_and_the_image_shows_it(machines, disk):
    console = machines.boot("box", disk)
    console.run("mke2fs /dev/vda && mount -t ext4 /dev/vda /mnt && echo kept > /mnt/letter")
    [machine] = machines.list()
    assert (machine["name"], machine["disk"], machine["net"]) == ("box", str(disk), "user")
    # Two at once would destroy it.
    assert "in use by the running machine box" in machines.refusal("run", disk, "--name", "other")
    assert "box runs already" in machines.refusal("run", disk, "--name", "box")
    refused = machines.qemu("convert", disk, machines.base / "copy.img", check=False)
    assert refused.returncode == 1
    assert "in use by a running machine" in refused.stderr
    assert not (machines.base / "copy.img").exists()

    mountpoint = machines.base / "mnt"
    mountpoint.mkdir()
    mounting = (*twinfs_command(), "image", "mount", disk, mountpoint)
    browsed = run(*mounting, env=machines.twinfs_env, check=False)
    assert browsed.returncode == 1
    assert "is the disk of a running machine" in browsed.stderr
    assert "twinfs image mount qmp:box" in browsed.stderr
    assert not is_mounted(mountpoint)

    console.run("umount /mnt")
    assert "box: shut down" in machines.qemu("stop", "box").stderr
    wait_until_gone(machine["pid"])
    assert machines.list() == []
    assert files_of(machines) == []
    run(*mounting, env=machines.twinfs_env)
    try:
        assert (mountpoint / "p0" / "letter").read_text() == "kept\n"
    finally:
        run("umount", mountpoint)


def test_the_locks_of_qemu_refuse_a_second_machine_that_another_user_runs(machines, disk):
    """Another run directory, so that only the image itself can tell."""
    machines.qemu("run", disk, "--name", "first", "--detach", "--memory", "128M")
    other = type(machines)(machines.base / "other")
    words = other.refusal("run", disk, "--name", "second", "--detach", "--memory", "128M")
    assert f"{disk} is in use by another running machine" in words
    assert other.list() == []


def test_a_snapshot_leaves_every_byte_of_the_image(machines):
    image = machines.base / "usb_key.img"
    image.write_bytes(os.urandom(8 << 20))
    before = hashlib.sha256(image.read_bytes()).hexdigest()
    console = machines.boot("try", image, "--snapshot", words="deaf")
    console.run("mke2fs /dev/vda && mount -t ext4 /dev/vda /mnt && echo gone > /mnt/letter && umount /mnt")
    assert console.run("mount -t ext4 /dev/vda /mnt && cat /mnt/letter") == "gone\n"
    # This guest does not listen to its power button.
    assert "switched off" in machines.qemu("stop", "try", "--timeout", "1").stderr
    assert hashlib.sha256(image.read_bytes()).hexdigest() == before
    assert sorted(path.name for path in machines.base.iterdir()) == ["initramfs", "run", "usb_key.img"]


def test_the_console_of_a_headless_machine_is_the_terminal_and_power_off_ends_it(machines, disk):
    process = machines.start("run", disk, "--headless", "--memory", "256M", "--cpus", "1", *machines.linux())
    log = machines.directory("disk") / "console.log"
    wait_until(lambda: log.exists() and "guest-is-up" in log.read_text(), 180, "the guest did not boot")
    assert "the console of disk is open in another terminal" in machines.refusal("console", "disk")
    assert process.stdin is not None
    process.stdin.write("echo $((6 * 7)) answers; poweroff -f -n\n")
    process.stdin.flush()
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    assert re.search(r"disk: (emulated|KVM)", out)
    assert "42 answers" in out
    assert files_of(machines) == []


def test_a_machine_that_was_killed_leaves_nothing_and_its_name_is_free(machines, disk):
    machines.qemu("run", disk, "--name", "box", "--detach", "--memory", "128M")
    [machine] = machines.list()
    os.kill(machine["pid"], signal.SIGKILL)
    wait_until_gone(machine["pid"])
    assert files_of(machines) == ["box"]
    assert machines.list() == []
    assert files_of(machines) == []
    machines.qemu("run", disk, "--name", "box", "--detach", "--memory", "128M")
    assert [machine["name"] for machine in machines.list()] == ["box"]


def test_a_qemu_that_crashes_ends_its_helper_with_a_message_and_leaves_nothing(machines, disk):
    shared = machines.base / "shared"
    shared.mkdir()
    process = machines.start(
        "run", disk, "--headless", "--name", "box", "--memory", "128M", "--share", shared
    )
    wait_until(machines.list, 60, "it did not start")
    os.kill(machines.list()[0]["pid"], signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "QEMU ended with -9" in out
    assert files_of(machines) == []
    wait_until(lambda: not servers_of(shared), 60, "virtiofsd did not end")


def test_no_machine_outlives_the_helper_that_was_killed(machines, disk):
    process = machines.start("run", disk, "--headless", "--name", "box", "--memory", "128M")
    wait_until(machines.list, 60, "it did not start")
    pid = machines.list()[0]["pid"]
    assert is_running(pid)
    process.kill()
    process.wait()
    wait_until_gone(pid)
    assert machines.list() == []
    assert files_of(machines) == []


def test_a_signal_ends_helper_and_machine(machines, disk):
    process = machines.start("run", disk, "--headless", "--name", "box", "--memory", "128M")
    wait_until(machines.list, 60, "it did not start")
    pid = machines.list()[0]["pid"]
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not is_running(pid)
    assert files_of(machines) == []


def test_stopping_what_does_not_run_says_so(machines):
    done = machines.qemu("stop", "box", check=False)
    assert done.returncode == 4
    assert "no machine box runs" in done.stderr


def test_options_of_qemus_own_that_it_does_not_know_are_told_in_its_words(machines, disk):
    done = machines.qemu("run", disk, "--detach", "--", "-nonsense", check=False)
    assert done.returncode == 1
    assert "-nonsense: invalid option" in done.stderr
    assert files_of(machines) == []


def test_uefi_remembers_beside_the_disk_but_not_for_a_snapshot(machines, disk):
    remembered = disk.with_name("disk.qcow2.uefi")
    machines.qemu("run", disk, "--name", "box", "--detach", "--uefi", "--snapshot", "--memory", "128M")
    machines.qemu("stop", "box", "--timeout", "0")
    assert not remembered.exists()
    machines.qemu("run", disk, "--name", "box", "--detach", "--uefi", "--memory", "128M")
    assert remembered.stat().st_size > 0


@needs_root
def test_a_shared_directory_is_read_and_written_by_both_and_its_server_ends_with_the_machine(machines, disk):
    shared = machines.base / "shared"
    shared.mkdir()
    (shared / "question").write_text("from the host")
    console = machines.boot("box", disk, "--share", shared)
    assert "from the host" in console.run("mount -t virtiofs share /mnt && cat /mnt/question")
    console.run("echo from the guest > /mnt/answer; umount /mnt")
    assert (shared / "answer").read_text() == "from the guest\n"
    assert servers_of(shared)
    machines.qemu("stop", "box")
    wait_until(lambda: not servers_of(shared), 60, "virtiofsd did not end")
    assert files_of(machines) == []


def servers_of(shared) -> list[str]:
    """Processes that have the directory on their command line."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                words = Path(entry.path, "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if f"source={shared}".encode() in words:
                found.append(entry.name)
    return found
