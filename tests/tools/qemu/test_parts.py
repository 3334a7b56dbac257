"""What can be seen without a machine: the command line of QEMU, the judgement of KVM, rules, options."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from twinfs.errors import UsageError
from twinfs_qemu.accel import choose, probe
from twinfs_qemu.accel.choose import Accelerator
from twinfs_qemu.check import parse
from twinfs_qemu.formats import Image
from twinfs_qemu.machine.arguments import MACHINES, arguments, hardware_address
from twinfs_qemu.machine.settings import Forward, Settings
from twinfs_qemu.machine.state import Place
from twinfs_qemu.net.addresses import Subnet
from twinfs_qemu.net.rules import document
from twinfs_qemu.net.state import Network
from twinfs_qemu.run import parse_forward

PLACE = Place(Path("/run/box"))
TCG = Accelerator("tcg", "")
DISK = Image(Path("/srv/a,b.qcow2"), "qcow2")


def words(**more) -> list[str]:
    return arguments(
        Settings(**{"name": "box", "arch": "x86_64", "accelerator": TCG, "disk": DISK, **more}), PLACE
    )


def test_a_comma_in_a_name_ends_no_option():
    assert "if=none,id=disk0,discard=unmap,file=/srv/a,,b.qcow2,format=qcow2" in words()


@pytest.mark.parametrize("arch", MACHINES)
def test_every_architecture_has_a_machine_a_disk_and_a_network(arch):
    found = words(arch=arch)
    assert f"{MACHINES[arch]},accel=tcg" in found
    assert any(word.startswith("virtio-blk,drive=disk0") for word in found)
    assert any(word.startswith("virtio-net,netdev=net0") for word in found)


def test_the_boot_order_is_disk_then_cdrom_unless_the_other_is_asked_for():
    assert "ide-cd,drive=cdrom0,bootindex=2" in words(cdrom=Path("/a.iso"))
    found = words(cdrom=Path("/a.iso"), boots_cdrom=True)
    assert "ide-cd,drive=cdrom0,bootindex=1" in found
    assert "virtio-blk,drive=disk0,bootindex=2" in found
    assert "if=none,id=cdrom0,media=cdrom,readonly=on,file=/a.iso,format=raw" in found


def test_only_the_loopback_of_the_host_is_forwarded():
    assert "user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22" in words(forwards=(Forward(2222, 22),))


def test_options_of_the_users_own_come_last():
    assert words(extra=("-cpu", "qemu64"))[-2:] == ["-cpu", "qemu64"]


def test_a_hardware_address_stays_and_is_a_local_one_of_qemus():
    assert hardware_address("tap0") == hardware_address("tap0") != hardware_address("tap1")
    assert hardware_address("tap0").startswith("52:54:00:")


@pytest.mark.parametrize("text", ["2222", "a:22", "0:22", "2222:65536", "2222:22:1"])
def test_a_forward_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="such as 2222:22"):
        parse_forward(text)


def test_kvm_is_taken_only_where_it_counts_fast():
    assert choose.judge(0, "0.6\n", "").name == "kvm"
    assert choose.judge(0, "900.0\n", "") == Accelerator(
        "tcg", "emulated: KVM takes 900 ns an instruction here"
    )
    assert choose.judge(1, "", "Traceback\nPermission denied\n").name == "tcg"


def test_the_probe_counts_to_the_end_or_says_why_not(monkeypatch):
    """Few steps, so that it ends also where each is emulated."""
    monkeypatch.setattr(probe, "STEPS", 10)
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        assert probe.count() > 0
    else:
        with pytest.raises(OSError, match="kvm"):
            probe.count()


def test_choosing_takes_no_longer_than_promised_and_another_architecture_is_emulated():
    started = time.monotonic()
    assert choose.choose("x86_64").name in ("kvm", "tcg")
    # The second that is promised, and what a busy machine adds to it.
    assert time.monotonic() - started < 10
    assert choose.choose("s390x").name == "tcg"
    assert (
        choose.choose("x86_64", device="/nonexistent/kvm").reason == "emulated: there is no /nonexistent/kvm"
    )


def test_addresses_are_those_of_qemus_own_network():
    subnet = Subnet.parse("10.0.2.0/24")
    assert (subnet.host, subnet.guest, subnet.last_guest) == ("10.0.2.2", "10.0.2.15", "10.0.2.254")
    for text in ("10.0.2.0/30", "10.0.2.1/24", "ten"):
        with pytest.raises(UsageError, match="--subnet"):
            Subnet.parse(text)


def test_an_uplink_that_forwarded_before_is_not_closed():
    closed = str(document(Network("tap0", "10.0.2.0/24", "eth0", False, "")))
    open_before = str(document(Network("tap0", "10.0.2.0/24", "eth0", True, "")))
    assert "['new']" in closed
    assert "['new']" not in open_before
    assert "masquerade" not in str(document(Network("tap0", "10.0.2.0/24", None, False, "")))


def test_ping_is_understood_with_and_without_answers():
    counts = "20 packets transmitted, 19 received, 5% packet loss, time 3900ms"
    pings = parse(f"{counts}\nrtt min/avg/max/mdev = 0.2/0.4/1.5/0.1 ms")
    assert pings is not None
    assert (pings.sent, pings.received, pings.mean_ms, pings.loss_percent) == (20, 19, 0.4, 5)
    lost = parse("3 packets transmitted, 0 received, 100% packet loss, time 2031ms")
    assert lost is not None
    assert (lost.loss_percent, lost.mean_ms) == (100, None)
    assert parse("ping: unknown host") is None
