"""Snapshots of a running QEMU's disks: what they show, in which order they end, what is left of them."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from images.running.conftest import DISK_BYTES, read
from support.machine import needs_root, run
from support.volume import wait_until
from twinfs.errors import ImageError
from twinfs.images.running import leftovers, room, snapshot
from twinfs.images.running.monitor import Monitor, MonitorError
from twinfs.images.running.using import Held
from twinfs.images.sources.nbd import NbdSource


def test_a_snapshot_stays_as_it_was_and_the_disk_goes_on(qemu):
    with Held(qemu.disk()) as held:
        qemu.write(2, 0, 1 << 20)
        assert read(held, 0, DISK_BYTES) == b"\1" * DISK_BYTES
        qemu.write(3, DISK_BYTES - 512, 512)
        assert read(held, DISK_BYTES - 512, 4096) == b"\1" * 512
    assert qemu.left() == []
    assert not list((qemu.base / "snapshots").iterdir())
    assert qemu.holds(2, 0, 1 << 20)
    assert qemu.holds(3, DISK_BYTES - 512, 512)
    assert not qemu.holds(2, 1 << 20, 512)


def test_every_byte_is_the_old_one_wherever_the_guest_writes(qemu):
    """Parts of units, several units, and reads that begin in what was copied and end in what was not."""
    chance = random.Random(5)
    with Held(qemu.disk()) as held:
        for _ in range(40):
            start, length = chance.randrange(DISK_BYTES), chance.randrange(1, 300_000)
            qemu.write(7, start, min(length, DISK_BYTES - start))
            asked = chance.randrange(DISK_BYTES)
            assert set(read(held, asked, 1 << 20)) == {1}
        assert set(read(held, 0, DISK_BYTES)) == {1}
        assert len(read(held, 0, DISK_BYTES + 1)) == DISK_BYTES


def test_snapshots_of_one_disk_end_in_any_order(qemu):
    """Each shows its own moment, as long as it lasts, whatever became of those below and above."""
    for order in itertools.permutations(range(3)):
        stacks = [ExitStack() for _ in order]
        held = []
        for number, stack in enumerate(stacks):
            qemu.write(10 + number, 0, 65536)
            held.append(stack.enter_context(Held(qemu.disk())))
        alive = set(order)
        for step, number in enumerate(order):
            qemu.write(20 + step, 0, 65536)
            shown = {each: read(held[each], 0)[0] for each in alive}
            assert shown == {each: 10 + each for each in alive}, order
            stacks[number].close()
            alive.remove(number)
        qemu.write(30, 65536, 65536)
        assert qemu.left() == [], order
    assert qemu.holds(30, 65536, 65536)


def test_another_drive_is_found_by_its_name_and_an_unknown_one_is_told(qemu):
    with Held(qemu.disk("disk1")) as held:
        qemu.write(2, 0, 65536, "device1")
        qemu.write(3, 0, 65536, "device0")
        assert read(held, 0) == b"\1"
    with pytest.raises(ImageError, match="no drive disk7; it has: disk0, disk1"):
        Held(qemu.disk("disk7"))
    assert qemu.left() == []


def test_what_a_killed_holder_has_left_is_taken_out_and_what_is_in_use_stays(qemu):
    script = (
        "import sys, time; from pathlib import Path; from twinfs.images.running.using import Held;"
        "from twinfs.images.running.address import RunningDisk;"
        "held = Held(RunningDisk('it', Path(sys.argv[1]), Path(sys.argv[2]), None));"
        "print('held', flush=True); time.sleep(1000)"
    )
    disk = qemu.disk()
    holder = subprocess.Popen(
        [sys.executable, "-c", script, disk.monitor, disk.server], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        qemu.write(2, 0, 65536)
        with Held(disk) as held:
            assert leftovers.clean_machine(disk.monitor, disk.server) == 0
            assert len(qemu.left()) > 8
            qemu.write(3, 0, 65536)
            holder.kill()
            holder.wait()
            # Until QEMU has seen that the connection is closed.
            wait_until(
                lambda: leftovers.clean_machine(disk.monitor, disk.server) == 1, 60, "it was not found"
            )
            assert read(held, 0) == b"\2"
            qemu.write(4, 0, 65536)
            assert read(held, 0) == b"\2"
    finally:
        holder.kill()
        holder.communicate()
    assert qemu.left() == []


def test_a_snapshot_that_fails_half_way_leaves_nothing(qemu, monkeypatch):
    """At each question that it asks of QEMU, in turn."""
    ask = Monitor.ask
    step = 0
    while True:
        step += 1
        left = step

        def fail(self, command, **arguments):
            nonlocal left
            left -= command != "qmp_capabilities"
            if left == 0:
                left = -1
                raise MonitorError("as the test wants")
            return ask(self, command, **arguments)

        with monkeypatch.context() as patch, ExitStack() as stack:
            patch.setattr(Monitor, "ask", fail)
            try:
                stack.enter_context(Held(qemu.disk()))
                left = -1
                break
            except ImageError as error:
                assert "as the test wants" in str(error)
        assert qemu.left() == [], step
        qemu.write(step, 0, 65536)
    assert step > 10
    assert qemu.left() == []
    assert qemu.holds(step - 1, 0, 65536)


def test_one_that_could_not_be_taken_out_is_taken_out_by_the_next(qemu, monkeypatch):
    ask = Monitor.ask
    for step in range(1, 12):
        left = -1

        def fail(self, command, **arguments):
            nonlocal left
            left -= command != "qmp_capabilities"
            if left == 0:
                raise MonitorError("as the test wants")
            return ask(self, command, **arguments)

        with monkeypatch.context() as patch:
            patch.setattr(Monitor, "ask", fail)
            with Held(qemu.disk()):
                left = step
        with Held(qemu.disk()) as held:
            qemu.write(step, 0, 65536)
            assert read(held, 0)[0] == (step - 1 or 1)
        assert qemu.left() == [], step
    assert qemu.holds(11, 0, 65536)


@needs_root
def test_a_full_disk_costs_the_snapshot_and_not_the_guest(qemu, monkeypatch):
    with _small_file_system(qemu.base / "small") as small:
        monkeypatch.setenv("TMPDIR", str(small))
        # QEMU has to notice by itself.
        monkeypatch.setattr(room, "is_scarce", lambda fd: False)
        with Held(qemu.disk()) as held:
            for offset in range(0, DISK_BYTES, 1 << 20):
                qemu.write(2, offset, 1 << 20)
            with pytest.raises(ImageError, match="given its snapshot up"):
                read(held, 0)
    assert qemu.left() == []
    assert qemu.holds(2, 0, DISK_BYTES)


@needs_root
def test_a_snapshot_is_given_up_before_it_fills_a_disk(qemu, monkeypatch):
    with _small_file_system(qemu.base / "small") as small:
        monkeypatch.setenv("TMPDIR", str(small))
        with Held(qemu.disk()):
            qemu.write(2, 0, 6 << 20)
            wait_until(lambda: not qemu.left(), 60, "it was not given up")
        assert os.statvfs(small).f_bfree == os.statvfs(small).f_blocks


class _small_file_system:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Path:
        self.path.mkdir()
        run("mount", "-t", "tmpfs", "-o", "size=6300k", "tmpfs", self.path)
        return self.path

    def __exit__(self, *_: object) -> None:
        run("umount", self.path)


def test_a_machine_that_ends_takes_its_snapshot_along(qemu):
    with Held(qemu.disk()) as held:
        source = NbdSource(held.export.connect(), held.export.name)
        qemu.process.send_signal(signal.SIGKILL)
        qemu.process.wait()
        with pytest.raises(ImageError, match="the machine has ended"):
            source.read_at(0, 512)
        with pytest.raises(ImageError, match="does not answer"):
            held.export.connect()
        source.close()
    assert not list((qemu.base / "snapshots").iterdir())


def test_a_machine_shuts_down_while_its_disk_is_looked_at(qemu):
    with Held(qemu.disk()):
        qemu.process.terminate()
        assert qemu.process.wait(60) == 0


def test_the_server_of_another_program_is_left_alone(qemu):
    address = {"type": "unix", "data": {"path": str(qemu.base / "other.sock")}}
    qemu.ask("nbd-server-start", addr=address)
    with pytest.raises(ImageError, match="QEMU has only one such server"):
        Held(qemu.disk())
    assert qemu.left() == []
    qemu.ask("nbd-server-stop")


def test_a_qemu_that_would_fail_the_guests_write_instead_is_refused(qemu, monkeypatch):
    monkeypatch.setattr(snapshot, "_OLDEST", (99, 0))
    with pytest.raises(ImageError, match=r"runs on QEMU \d+\.\d+; this takes 99.0 or newer"):
        Held(qemu.disk())


def test_a_monitor_that_somebody_else_uses_is_told(qemu):
    with Monitor(qemu.monitor), pytest.raises(MonitorError, match="another program using it"):
        Monitor(qemu.monitor, timeout=0.5)
