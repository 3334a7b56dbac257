"""dnsmasq: addresses for the guest of a network, and names."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from twinfs_qemu.errors import NetError
from twinfs_qemu.machine.arguments import hardware_address
from twinfs_qemu.net.addresses import Subnet
from twinfs_qemu.net.state import Records
from twinfs_qemu.programs import call

_SECONDS = 10.0


def start(records: Records, name: str, subnet: Subnet) -> None:
    """Also where it runs already. It stays when we end, and answers on this interface only."""
    if pid_of(records, name) is not None:
        return
    done = call(
        "dnsmasq",
        # Nothing of /etc/dnsmasq.conf.
        "--conf-file=",
        f"--interface={name}",
        "--except-interface=lo",
        "--bind-interfaces",
        f"--dhcp-range={subnet.guest},{subnet.last_guest},1h",
        "--dhcp-sequential-ip",
        f"--dhcp-host={hardware_address(name)},{subnet.guest}",
        f"--dhcp-option=option:router,{subnet.host}",
        f"--dhcp-option=option:dns-server,{subnet.host}",
        f"--dhcp-leasefile={records.leases(name)}",
        "--dhcp-authoritative",
        f"--pid-file={records.pid_file(name)}",
        "--quiet-dhcp",
    )
    if done.returncode != 0:
        raise NetError(f"dnsmasq: {done.stderr.strip()}")


def stop(records: Records, name: str) -> None:
    pid = pid_of(records, name)
    if pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _SECONDS
    while pid_of(records, name) is not None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.02)


def pid_of(records: Records, name: str) -> int | None:
    """Its process; a number that now belongs to another program is not."""
    mark = f"--pid-file={records.pid_file(name)}".encode()
    try:
        pid = int(records.pid_file(name).read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None
    return pid if mark in words else None


def lease(records: Records, name: str) -> str | None:
    """The address that a guest has got; its file has a line a lease: expiry, hardware address, address..."""
    try:
        lines = records.leases(name).read_text().splitlines()
    except FileNotFoundError:
        return None
    found = [words[2] for line in lines if len(words := line.split()) >= 4]
    return found[-1] if found else None
