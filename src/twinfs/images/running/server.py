"""QEMU's NBD server. A QEMU has one; all snapshots of a machine are read through it.

It listens on a socket that is made here and handed to QEMU: so it lies where only we may go, whoever
QEMU runs as and whatever it may see of the file system.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from twinfs.fsio import unix_socket
from twinfs.images.running import graph
from twinfs.images.running.monitor import Monitor, MonitorError

_FD_NAME: Final = "twinfs-server"
_GONE_SECONDS: Final = 20.0


def ensure(monitor: Monitor, path: Path) -> None:
    """Raises MonitorError where somebody else's server is in the way."""
    if answers(path):
        return
    _sweep(path.parent)
    with unix_socket.listen(path) as listener:
        monitor.ask("getfd", handed=listener.fileno(), fdname=_FD_NAME)
    try:
        monitor.ask("nbd-server-start", addr={"type": "fd", "data": {"str": _FD_NAME}})
    except MonitorError as error:
        path.unlink(missing_ok=True)
        if "already running" in str(error):
            raise MonitorError(
                "the machine exports something by NBD already, for another program or user;"
                " QEMU has only one such server\n  its monitor's nbd-server-stop ends that"
            ) from None
        raise


def export(monitor: Monitor, names: graph.Names) -> None:
    monitor.ask(
        "block-export-add",
        type="nbd",
        id=names.export,
        node_name=names.view,
        name=names.export,
        writable=False,
    )


def withdraw(monitor: Monitor, ident: str, *, is_forced: bool) -> bool:
    """Whether the export is gone; unless forced, one that somebody is connected to stays."""
    name = graph.Names(ident).export
    if name not in graph.exports(monitor):
        return True
    try:
        monitor.ask("block-export-del", id=name, mode="hard" if is_forced else "safe")
    except MonitorError as error:
        if not is_forced and "in use" in str(error):
            return False
        raise
    deadline = time.monotonic() + _GONE_SECONDS
    while name in graph.exports(monitor):
        if time.monotonic() > deadline:
            raise MonitorError(f"QEMU does not let go of {name}")
        time.sleep(0.02)
    return True


def stop_if_unused(monitor: Monitor, path: Path) -> None:
    """Only ours: the one that listens on `path`."""
    if graph.exports(monitor) or not answers(path):
        return
    monitor.ask("nbd-server-stop")
    path.unlink(missing_ok=True)


def forget(path: Path) -> None:
    """The machine has ended: its socket is of no use, unless there is a new one by now."""
    if not answers(path):
        path.unlink(missing_ok=True)


def _sweep(directory: Path) -> None:
    """Sockets of machines that ended while nobody was there to take them away."""
    for path in directory.glob("*.sock") if directory.name == "snapshots" else ():
        forget(path)


def answers(path: Path) -> bool:
    try:
        unix_socket.connect(path, 1.0).close()
    except OSError:
        return False
    return True
