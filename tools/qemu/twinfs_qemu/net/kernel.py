"""Tap devices, addresses and forwarding, by ip(8) and /proc/sys."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from twinfs_qemu.errors import NetError
from twinfs_qemu.net.addresses import Subnet
from twinfs_qemu.programs import call


class _Route(msgspec.Struct):
    dev: str = ""


def exists(interface: str) -> bool:
    """Asked of the kernel itself: /sys may have been mounted in another network namespace."""
    return call("ip", "link", "show", "dev", interface).returncode == 0


def uplink() -> str | None:
    """The interface of the default route."""
    done = call("ip", "-json", "-4", "route", "show", "default")
    if done.returncode != 0:
        raise NetError(f"ip route: {done.stderr.strip()}")
    routes = msgspec.json.decode(done.stdout or "[]", type=list[_Route])
    return next((route.dev for route in routes if route.dev), None)


def make_tap(name: str, subnet: Subnet) -> None:
    """Openable by who called sudo; each step also where it is done already."""
    if not exists(name):
        owner = os.environ.get("SUDO_UID", str(os.getuid()))
        _ip("tuntap", "add", "dev", name, "mode", "tap", "user", owner)
    # `replace` does nothing where the address is there.
    _ip("address", "replace", subnet.host_with_length, "dev", name)
    _ip("link", "set", "dev", name, "up")


def remove_tap(name: str) -> None:
    """Its addresses, routes and settings go with it."""
    if exists(name):
        _ip("tuntap", "del", "dev", name, "mode", "tap")


def is_forwarding(interface: str) -> bool:
    try:
        return _forwarding(interface).read_text().strip() == "1"
    except FileNotFoundError:
        return False


def set_forwarding(interface: str, wanted: bool) -> None:
    """Of this interface alone. One that is gone has nothing to be set back."""
    try:
        _forwarding(interface).write_text("1" if wanted else "0")
    except FileNotFoundError:
        if wanted:
            raise NetError(f"{interface} is gone") from None
    except OSError as error:
        raise NetError(f"{_forwarding(interface)}: {error.strerror}") from error


def _forwarding(interface: str) -> Path:
    return Path(f"/proc/sys/net/ipv4/conf/{interface}/forwarding")


def _ip(*words: str) -> None:
    done = call("ip", *words)
    if done.returncode != 0:
        raise NetError(f"ip {' '.join(words)}: {done.stderr.strip()}")
