"""A network for guests, in namespaces of the test's own: what it changes and restores, who reaches whom."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

from support.machine import needs_root, tool
from support.namespaces import Internet, internet
from tools.qemu.conftest import Machines, wait_until_gone

pytestmark = needs_root


@pytest.fixture
def world():
    with internet() as made:
        yield made


@pytest.fixture
def host(workspace, world):
    found = Machines(workspace, world.prefix(world.host))
    yield found
    found.end()
    for network in networks(found):
        found.qemu("net", "down", "--name", network["name"])


def networks(host: Machines) -> list[dict]:
    return [json.loads(line) for line in host.qemu("net", "status", "--json").stdout.splitlines()]


def forwarding(world: Internet, interface: str) -> str:
    return world.on(world.host, "cat", f"/proc/sys/net/ipv4/conf/{interface}/forwarding").strip()


def test_a_guest_gets_an_address_and_reaches_host_and_third_machine_and_down_restores_it_all(host, world):
    before = world.picture()
    host.qemu("net", "up")
    disk = host.base / "disk.qcow2"
    host.qemu("create", disk, "64M")
    console = host.boot("box", disk, "--net", "tap0")
    # Without DHCP, as somebody would set it by hand.
    console.run("ip a add 10.0.2.15/24 dev eth0 && ip link set eth0 up && ip r add default via 10.0.2.2")
    assert [network["guest"] for network in networks(host)] == [None]
    checked = json.loads(host.qemu("check", "box", "--count", "5", "--json").stdout)
    assert (checked["guest"], checked["received"]) == ("10.0.2.15", 5)
    assert " 0% packet loss" in console.run("ping -c 3 -i 0.2 -W 5 192.0.2.2")
    console.run("ip r del default; ip a del 10.0.2.15/24 dev eth0; ip link set eth0 down")

    # What a distribution's DHCP client does with an answer.
    console.run(
        "printf '#!/bin/sh\\n[ $1 = bound ] && ip a add $ip/24 dev eth0 && "
        "ip r add default via $router\\n' > /s"
    )
    console.run("chmod +x /s; ip link set eth0 up && udhcpc -n -q -f -t 20 -i eth0 -s /s 2>&1")
    assert "10.0.2.15/24" in console.run("ip -4 address show dev eth0")
    assert [network["guest"] for network in networks(host)] == ["10.0.2.15"]

    checked = json.loads(host.qemu("check", "box", "--count", "20", "--json").stdout)
    assert (checked["guest"], checked["sent"], checked["received"]) == ("10.0.2.15", 20, 20)
    assert 0 < checked["least_ms"] <= checked["mean_ms"] <= checked["most_ms"]
    for address in ("10.0.2.2", "192.0.2.2"):
        said = console.run(f"ping -c 20 -i 0.2 -W 5 {address}")
        assert re.search(r"20 packets transmitted, 20 packets received, 0% packet loss", said), said
    # Nobody out there reaches the guest first, though they try.
    world.on(world.third, "ip", "route", "add", "10.0.2.0/24", "via", "192.0.2.1")
    assert " 0 received" in world.on(world.third, "ping", "-c", "2", "-W", "1", "10.0.2.15", check=False)

    other = host.base / "other.qcow2"
    host.qemu("create", other, "64M")
    second = host.qemu("run", other, "--net", "tap0", "--detach", "--memory", "128M", check=False)
    assert second.returncode == 1
    assert "not used by another machine" in second.stderr
    host.qemu("stop", "box", "--timeout", "30")
    host.qemu("net", "down")
    world.on(world.third, "ip", "route", "del", "10.0.2.0/24")
    assert world.picture() == before


def test_up_twice_does_it_once_and_down_twice_says_so(host, world):
    before = world.picture()
    host.qemu("net", "up", "--name", "tap7", "--subnet", "10.9.8.0/24")
    once = world.picture()
    assert "10.9.8.2/24" in once["addresses"]
    host.qemu("net", "up", "--name", "tap7", "--subnet", "10.9.8.0/24")
    # A chain that is made anew has another number, which is not shown; all else is the same.
    assert world.picture() == once
    assert "first: twinfs-qemu net down" in host.refusal("net", "up", "--name", "tap7")
    host.qemu("net", "down", "--name", "tap7")
    assert world.picture() == before
    assert "not up" in host.qemu("net", "down", "--name", "tap7").stderr
    assert sorted(path.name for path in (host.run_dir / "qemu" / "net").iterdir()) == ["lock"]


def test_what_a_crash_left_half_done_is_mended_by_up_and_restored_by_down(host, world):
    before = world.picture()
    host.qemu("net", "up")
    whole = world.picture()
    pid = int((host.run_dir / "qemu" / "net" / "tap0.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)
    world.on(world.host, "nft", "delete", "table", "inet", "twinfs_tap0")
    world.on(world.host, "ip", "link", "del", "tap0")
    assert networks(host)[0]["missing"] == ["device", "rules", "forwarding of tap0", "dnsmasq"]
    host.qemu("net", "up")
    assert networks(host)[0]["missing"] == []
    again = world.picture()
    assert (again["rules"], again["forwarding"]) == (whole["rules"], whole["forwarding"])
    # And down alone, after the same crash.
    world.on(world.host, "nft", "delete", "table", "inet", "twinfs_tap0")
    world.on(world.host, "ip", "link", "del", "tap0")
    host.qemu("net", "down")
    assert world.picture() == before


def test_a_helper_killed_while_it_sets_up_has_written_down_what_to_restore(host, world):
    """It is stopped at the first program that it calls after its record is written."""
    before = world.picture()
    host.prefix = (*world.prefix(world.host), "env", f"PATH={_deadly_ip(host)}:{os.environ['PATH']}")
    assert host.qemu("net", "up", check=False).returncode != 0
    assert world.picture() != before
    host.prefix = world.prefix(world.host)
    host.qemu("net", "down")
    assert world.picture() == before


def _deadly_ip(host: Machines):
    """An `ip` that kills its caller when the device is made and gets its address."""
    directory = host.base / "bin"
    directory.mkdir()
    script = directory / "ip"
    real = tool("ip", "iproute2")
    script.write_text(f'#!/bin/sh\n[ "$1" != address ] || kill -9 $PPID\nexec {real} "$@"\n')
    script.chmod(0o755)
    return directory


def test_forwarding_is_that_of_the_two_interfaces_and_was_on_stays_on(host, world):
    world.on(world.host, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/forwarding")
    host.qemu("net", "up")
    assert (forwarding(world, "tap0"), forwarding(world, "eth0")) == ("1", "1")
    assert world.on(world.host, "cat", "/proc/sys/net/ipv4/ip_forward").strip() == "0"
    host.qemu("net", "down")
    assert forwarding(world, "eth0") == "1"


def test_two_networks_share_the_uplink_and_the_last_one_restores_it(host, world):
    before = world.picture()
    host.qemu("net", "up")
    assert "is in use by tap0" in host.refusal("net", "up", "--name", "tap1")
    host.qemu("net", "up", "--name", "tap1", "--subnet", "10.0.3.0/24")
    host.qemu("net", "down", "--name", "tap0")
    assert (forwarding(world, "tap1"), forwarding(world, "eth0")) == ("1", "1")
    host.qemu("net", "down", "--name", "tap1")
    assert world.picture() == before


def test_a_device_that_is_not_ours_is_left_alone(host, world):
    world.on(world.host, "ip", "tuntap", "add", "dev", "tap0", "mode", "tap")
    before = world.picture()
    assert "is not ours" in host.refusal("net", "up")
    host.qemu("net", "down")
    assert world.picture() == before
