"""A subnet's addresses: .2 is the host, .15 the first guest, as QEMU's own user network has it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from twinfs.errors import UsageError


@dataclass(frozen=True, slots=True)
class Subnet:
    network: ipaddress.IPv4Network

    @classmethod
    def parse(cls, text: str) -> Subnet:
        """Raises UsageError."""
        try:
            network = ipaddress.IPv4Network(text)
        except ValueError as error:
            raise UsageError(f"--subnet {text}: {error}; such as 10.0.2.0/24") from error
        if network.prefixlen > 27:
            raise UsageError(f"--subnet {text}: too small; at most /27, such as 10.0.2.0/24")
        return cls(network)

    def __str__(self) -> str:
        return str(self.network)

    @property
    def host(self) -> str:
        return str(self.network[2])

    @property
    def host_with_length(self) -> str:
        return f"{self.host}/{self.network.prefixlen}"

    @property
    def guest(self) -> str:
        return str(self.network[15])

    @property
    def last_guest(self) -> str:
        return str(self.network[-2])

    def overlaps(self, other: Subnet) -> bool:
        return self.network.overlaps(other.network)
