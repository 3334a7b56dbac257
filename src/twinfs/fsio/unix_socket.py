"""Unix sockets in directories of any depth.

sockaddr_un holds 108 bytes (unix(7)); state directories in home or test directories are longer.
Opening the directory and going through /proc/self/fd/N makes every path short.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MAX_PATH_BYTES = 107


def connect(path: Path | str, timeout_seconds: float) -> socket.socket:
    """A connected stream socket. Raises OSError as connect(2) does."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        client.settimeout(timeout_seconds)
        with _short(path) as address:
            client.connect(address)
    except BaseException:
        client.close()
        raise
    return client


def listen(path: Path) -> socket.socket:
    """A listening stream socket that only its owner may connect to.

    Replaces a socket that a dead process left. The caller must hold the volume's lock: without it
    this would cut off a living daemon.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    # bind(2) applies the umask: set so, there is no moment in which others could connect.
    umask = os.umask(0o177)
    try:
        with _short(path) as address:
            server.bind(address)
        server.listen(16)
    except BaseException:
        server.close()
        raise
    finally:
        os.umask(umask)
    return server


@contextmanager
def _short(path: Path | str) -> Iterator[str]:
    if len(os.fsencode(path)) <= _MAX_PATH_BYTES:
        yield os.fspath(path)
        return
    parent, name = os.path.split(path)
    directory = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{name}"
    finally:
        os.close(directory)
