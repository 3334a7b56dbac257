"""`twinfs-qemu net`: the commands of the network."""

from __future__ import annotations

from typing import Final

from cyclopts import App

SUMMARIES: Final = {
    "up": "Make a network for a guest: a tap device, DHCP, and masquerading towards the others.",
    "down": "Take a network down, and restore exactly what was there before.",
    "status": "Show the networks that are up, and what of them is missing.",
}

_HELP: Final = "\n".join(
    [
        "A network for guests: a tap device, DHCP, masquerading.",
        "",
        *(f"{name}: {summary}" for name, summary in SUMMARIES.items()),
        "",
        "For example:",
        "",
        "    sudo twinfs-qemu net up",
        "    twinfs-qemu run disk.qcow2 --net tap0",
    ]
)


def __getattr__(name: str) -> App:
    """`net`, made anew each time: an App belongs to the one it was added to."""
    if name != "net":
        raise AttributeError(name)
    made = App(name="net", help=_HELP)
    for command in SUMMARIES:
        made.command(f"twinfs_qemu.net.command:{command}", name=command)
    return made
