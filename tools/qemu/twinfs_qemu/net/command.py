"""`twinfs-qemu net up`, `net down` and `net status`."""

from __future__ import annotations

import os
import re
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from twinfs.cli.talk import result, say
from twinfs.errors import UsageError
from twinfs.report import json_lines
from twinfs_qemu.errors import NetError, RefusedError
from twinfs_qemu.net import dhcp, kernel, rules
from twinfs_qemu.net.addresses import Subnet
from twinfs_qemu.net.state import Network, Records, boot_id
from twinfs_qemu.parameters import Json, network_directory
from twinfs_qemu.programs import program

TapName: TypeAlias = Annotated[str, Parameter(help="The tap device (tap0).")]
_DEVICE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,14}")


def up(
    *,
    name: TapName = "tap0",
    subnet: Annotated[str, Parameter(help="Of the guest (10.0.2.0/24).")] = "10.0.2.0/24",
    uplink: Annotated[
        str | None, Parameter(help="The interface towards the others (the default route's).")
    ] = None,
) -> int:
    """Make a network for a guest: a tap device, DHCP, and masquerading towards the others.

    Needs root. The host is .2 in the subnet, the guest .15, as in QEMU's own
    user network. What is changed is written down first, so that `net down` restores
    it whatever happens in between; doing it twice does it once.

    For example:

        sudo twinfs-qemu net up
    """
    _check(name)
    wanted = Subnet.parse(subnet)
    for each in ("ip", "nft", "dnsmasq"):
        program(each)
    records = Records(network_directory())
    with records.locked():
        network = records.read(name) or _fresh(records, name, wanted, uplink)
        if network.subnet != str(wanted) or (uplink is not None and uplink != network.uplink):
            raise RefusedError(
                f"{name} is up with subnet {network.subnet} and uplink {network.uplink}\n"
                f"  first: twinfs-qemu net down --name {name}"
            )
        records.write(network)
        kernel.make_tap(name, wanted)
        # The rules before the forwarding: at no time does anything go through that they forbid.
        rules.apply(network)
        if network.uplink is not None:
            kernel.set_forwarding(name, True)
            kernel.set_forwarding(network.uplink, True)
        dhcp.start(records, name, wanted)
    where = (
        f"out through {network.uplink}" if network.uplink else "no default route, so not out of this machine"
    )
    say(f"{name}: host {wanted.host}, guest {wanted.guest} by DHCP, {where}")
    return 0


def _fresh(records: Records, name: str, subnet: Subnet, uplink: str | None) -> Network:
    if kernel.exists(name):
        raise RefusedError(f"{name} exists, and is not ours\n  choose another name: --name tap1")
    if uplink is not None and not kernel.exists(uplink):
        raise UsageError(f"--uplink {uplink}: there is no such interface")
    others = records.all()
    for other in others:
        if subnet.overlaps(Subnet.parse(other.subnet)):
            raise RefusedError(f"{subnet} is in use by {other.name}\n  choose another: --subnet 10.0.3.0/24")
    towards = uplink or kernel.uplink()
    shared = [other.uplink_forwarding_before for other in others if other.uplink == towards]
    before = shared[0] if shared else towards is not None and kernel.is_forwarding(towards)
    return Network(name, str(subnet), towards, before, boot_id())


def down(*, name: TapName = "tap0") -> int:
    """Take a network down, and restore exactly what was there before.

    Also after a crash, of anything, at any moment; where there is nothing to do it does nothing.

    For example:

        sudo twinfs-qemu net down
    """
    _check(name)
    records = Records(network_directory())
    with records.locked():
        network = records.read(name)
        if network is None:
            records.forget(name)
            say(f"{name}: not up")
            return 0
        dhcp.stop(records, name)
        if network.uplink is not None and not _is_shared(records, network):
            kernel.set_forwarding(network.uplink, network.uplink_forwarding_before)
        kernel.remove_tap(name)
        rules.remove(name)
        records.forget(name)
    say(f"{name}: down")
    return 0


def _is_shared(records: Records, network: Network) -> bool:
    """Whether another network of ours still goes out there; the last one restores it."""
    return any(other.uplink == network.uplink for other in records.all() if other.name != network.name)


def status(*, json: Json = False) -> int:
    """Show the networks that are up, and what of them is missing.

    For example:

        twinfs-qemu net status
    """
    records = Records(network_directory())
    for network in records.all():
        subnet = Subnet.parse(network.subnet)
        missing = _missing(records, network) if os.geteuid() == 0 else []
        guest = dhcp.lease(records, network.name)
        if json:
            fields: dict[str, json_lines.Json] = {
                "name": network.name,
                "subnet": network.subnet,
                "host": subnet.host,
                "guest": guest,
                "uplink": network.uplink,
                "missing": [*missing],
            }
            result(json_lines.line({"type": "network", **fields}))
            continue
        words = [network.name, network.subnet, f"host {subnet.host}", f"guest {guest or 'none yet'}"]
        words += [f"uplink {network.uplink or 'none'}"]
        if missing:
            words.append(f"MISSING: {', '.join(missing)}; mend it: twinfs-qemu net up --name {network.name}")
        result("  ".join(words))
    return 0


def _missing(records: Records, network: Network) -> list[str]:
    missing = [] if kernel.exists(network.name) else ["device"]
    if not rules.are_there(network.name):
        missing.append("rules")
    for interface in (network.name, network.uplink) if network.uplink is not None else ():
        if not kernel.is_forwarding(interface):
            missing.append(f"forwarding of {interface}")
    if dhcp.pid_of(records, network.name) is None:
        missing.append("dnsmasq")
    return missing


def _check(name: str) -> None:
    if not _DEVICE.fullmatch(name):
        raise UsageError(f"--name {name}: a letter, then letters, digits, '_' and '-', 15 at most")
    if os.geteuid() != 0:
        raise NetError("this changes the machine's network, which takes root: sudo twinfs-qemu net ...")
