"""A request to a mounted volume's daemon, sent before the rest of twinfs is imported.

What the daemon has done within moments needs nothing else. Whatever is not as simple as that, progress that
people want to see, failures, is `ControlClient`'s, which takes the connection over as it is.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Final

from twinfs.daemon.directories import socket_name
from twinfs.daemon.names import is_name
from twinfs.fsio import unix_socket

_MOMENTS_SECONDS: Final = 1.0
"""Before a display would show anything."""
_PROGRESS: Final = b'{"type":"progress"'


class Errand:
    """One that is on its way: what was heard of it so far, and where the rest will be heard."""

    __slots__ = ("heard", "socket")

    def __init__(self, connection: socket.socket, heard: bytes) -> None:
        self.socket = connection
        self.heard = heard


def run(run_dir: str, name: str, request: dict[str, object]) -> str | Errand | None:
    """`request` as protocol.py has it. The message that it was done with, which may be empty; or the errand,
    the caller's to go on with. None: no such volume's daemon answers, and nothing was asked of it."""
    if not is_name(name):
        return None
    try:
        connection = unix_socket.connect(f"{run_dir}/{socket_name(name)}", _MOMENTS_SECONDS)
    except OSError:
        return None
    line = json.dumps(request, separators=(",", ":")).encode() + b"\n"
    heard = b""
    try:
        connection.sendall(line)
        until = time.monotonic() + _MOMENTS_SECONDS
        while (left := until - time.monotonic()) > 0:
            connection.settimeout(left)
            chunk = connection.recv(1 << 16)
            heard += chunk
            last = heard.splitlines()[-1] if heard.endswith(b"\n") else b""
            if (message := _message(last)) is not None:
                connection.close()
                return message
            if not chunk or (last and not last.startswith(_PROGRESS)):
                break
    except OSError:
        pass  # a timeout, or the daemon's end: whoever goes on will meet it again, and say so
    except BaseException:
        connection.close()
        raise
    return Errand(connection, heard)


def _message(line: bytes) -> str | None:
    """What the reply says, where it is that all is done."""
    try:
        reply = json.loads(line)
        if reply["type"] == "done":
            return ""
        if reply["type"] == "recovered" and reply["survey"] is None:
            return str(reply["message"])
    except (ValueError, TypeError, KeyError):
        pass  # nothing that this knows
    return None
