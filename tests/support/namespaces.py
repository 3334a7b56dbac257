"""Network namespaces: a small internet of this test's own, that leaves the machine's network alone."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager

from support.machine import run, tool

_NUMBERS = itertools.count()


class Internet:
    """A host that guests run on, joined to a third machine: 192.0.2.1 and 192.0.2.2 (RFC 5737).

    The third machine knows no way back to any guest, so that it answers only what was masqueraded.
    """

    def __init__(self) -> None:
        number = f"{os.getpid()}-{next(_NUMBERS)}"
        self.host, self.third = f"twinfs-host-{number}", f"twinfs-third-{number}"
        self._ip = tool("ip", "iproute2")

    def build(self) -> None:
        for name in (self.host, self.third):
            run(self._ip, "netns", "add", name)
            self.on(name, "ip", "link", "set", "lo", "up")
        pair = ("type", "veth", "peer", "name", "eth0", "netns", self.third)
        self.on(self.host, "ip", "link", "add", "eth0", *pair)
        for name, address in ((self.host, "192.0.2.1/24"), (self.third, "192.0.2.2/24")):
            self.on(name, "ip", "address", "add", address, "dev", "eth0")
            self.on(name, "ip", "link", "set", "eth0", "up")
        self.on(self.host, "ip", "route", "add", "default", "via", "192.0.2.2")

    def prefix(self, name: str) -> tuple[str, ...]:
        """Not `ip netns exec`: that copies all mounts, and other tests could not unmount theirs meanwhile."""
        return (tool("nsenter", "util-linux"), f"--net=/run/netns/{name}")

    def on(self, name: str, *words: str, check: bool = True) -> str:
        return run(*self.prefix(name), *words, check=check).stdout

    def picture(self) -> dict[str, str]:
        """Everything that `net up` could change on the host."""
        sysctls = "find /proc/sys/net/ipv4 -name '*forwarding' -o -name ip_forward | sort | xargs grep ."
        return {
            "links": self.on(self.host, "ip", "-o", "link"),
            "addresses": self.on(self.host, "ip", "-o", "-4", "address"),
            "routes": self.on(self.host, "ip", "-4", "route", "show", "table", "all"),
            "rules": self.on(self.host, tool("nft", "nftables"), "list", "ruleset"),
            "forwarding": self.on(self.host, "sh", "-c", sysctls),
        }

    def take_away(self) -> None:
        for name in (self.host, self.third):
            run(self._ip, "netns", "del", name, check=False)


@contextmanager
def internet() -> Iterator[Internet]:
    made = Internet()
    try:
        made.build()
        yield made
    finally:
        made.take_away()
