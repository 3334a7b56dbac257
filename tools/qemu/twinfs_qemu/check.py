"""`twinfs-qemu check`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from twinfs.cli.talk import result
from twinfs.errors import UsageError
from twinfs.report import json_lines
from twinfs_qemu.errors import NetError, QemuError
from twinfs_qemu.machine import state
from twinfs_qemu.net import dhcp
from twinfs_qemu.net.addresses import Subnet
from twinfs_qemu.net.state import Records
from twinfs_qemu.parameters import Json, MachineName, network_directory, run_directory
from twinfs_qemu.programs import call

_COUNTS = re.compile(r"(\d+) packets transmitted, (\d+) received")
_TIMES = re.compile(r"= ([\d.]+)/([\d.]+)/([\d.]+)/")


@dataclass(frozen=True, slots=True)
class Pings:
    """What ping(8) says in the end; times in milliseconds, None where nothing came back."""

    sent: int
    received: int
    least_ms: float | None
    mean_ms: float | None
    most_ms: float | None

    @property
    def loss_percent(self) -> float:
        return 100 * (self.sent - self.received) / self.sent if self.sent else 100.0


def check(
    name: MachineName,
    /,
    *,
    count: Annotated[int, Parameter(help="How many packets (20).", validator=Number(gte=1, lte=1000))] = 20,
    json: Json = False,
) -> int:
    """Show that host and guest reach each other, with loss and times.

    For machines on a network of `twinfs-qemu net up`. Every answer has gone both ways; one that is lost on
    either makes it end with 1.

    For example:

        twinfs-qemu check box
    """
    _, machine = state.find(run_directory(), name)
    if machine.net in ("user", "none"):
        raise UsageError(
            f"{name} has --net {machine.net}, where the host cannot reach the guest by its address\n"
            "  run it with --net tap0"
        )
    records = Records(network_directory())
    network = records.read(machine.net)
    if network is None:
        raise NetError(f"{machine.net} is not up\n  sudo twinfs-qemu net up --name {machine.net}")
    subnet = Subnet.parse(network.subnet)
    guest = dhcp.lease(records, network.name) or subnet.guest
    done = call("ping", "-n", "-c", str(count), "-i", "0.2", "-W", "5", "-I", subnet.host, guest)
    pings = parse(done.stdout)
    if pings is None:
        raise QemuError(f"ping {guest}: {done.stderr.strip() or 'it said nothing that is understood'}")
    if json:
        fields: dict[str, json_lines.Json] = {
            "host": subnet.host,
            "guest": guest,
            "sent": pings.sent,
            "received": pings.received,
            "loss_percent": pings.loss_percent,
        }
        times: dict[str, json_lines.Json] = {
            "least_ms": pings.least_ms,
            "mean_ms": pings.mean_ms,
            "most_ms": pings.most_ms,
        }
        result(json_lines.line({"type": "check", **fields, **times}))
    else:
        result(_text(subnet.host, guest, pings))
    return 0 if pings.received == pings.sent else 1


def parse(output: str) -> Pings | None:
    counts, times = _COUNTS.search(output), _TIMES.search(output)
    if counts is None:
        return None
    least, mean, most = map(float, times.groups()) if times is not None else (None, None, None)
    return Pings(int(counts[1]), int(counts[2]), least, mean, most)


def _text(host: str, guest: str, pings: Pings) -> str:
    words = f"{host} to {guest} and back: {pings.sent} sent, {pings.loss_percent:.0f} % loss"
    if pings.mean_ms is None:
        return words
    return f"{words}, {pings.least_ms:.2f} to {pings.most_ms:.2f} ms, {pings.mean_ms:.2f} on average"
