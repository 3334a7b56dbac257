"""Tell systemd how far the service is; nothing happens where no one asked to be told.

Protocol: sd_notify(3).
"""

from __future__ import annotations

import logging
import os
import socket

_log = logging.getLogger(__name__)


def notify(state: str) -> None:
    """Send e.g. "READY=1". Never fails: a service manager that is gone is no reason to stop."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(address)
            sender.sendall(state.encode())
    except OSError as error:
        _log.warning("NOTIFY_SOCKET %s: %s", address, error)
