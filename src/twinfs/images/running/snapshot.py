"""A snapshot of a running guest's disk: put in, and taken out again. The monitor is ours meanwhile.

    guest -> copy -> disk        copy: "copy-before-write"; it copies to `room`, a file without a name
               \\
                view             "snapshot-access": what is in room, else what is on the disk

Before the guest overwrites something, its old content goes to `room`; the moment of the snapshot is when QEMU
puts `copy` under the guest's device, with nothing on its way. A `room` that fills up or does not answer costs
the snapshot, never the guest's write: on-cbw-error, cbw-timeout.

A second snapshot lies on the first, with a `link` between them, so that either can be taken out first:

    guest -> copy2 -> link2 -> copy1 -> disk
"""

from __future__ import annotations

import secrets
from typing import Final

from twinfs.images.running.graph import Drive, Graph, Names, disks, drives, ident_in
from twinfs.images.running.monitor import Json, Monitor, MonitorError

_COPY_SECONDS: Final = 30
"""How long a guest's write waits for its old content to be kept; then the snapshot is given up."""
_OLDEST: Final = (7, 1)
"""The first QEMU that can give a snapshot up instead of the guest's write."""


def find_drive(monitor: Monitor, wanted: str | None) -> Drive:
    """By the name of its -drive, its device or its node; None: the first disk. Raises MonitorError."""
    if monitor.version < _OLDEST:
        found, oldest = (".".join(map(str, each)) for each in (monitor.version, _OLDEST))
        raise MonitorError(f"the machine runs on QEMU {found}; this takes {oldest} or newer")
    if wanted is None:
        found_disks = disks(monitor)
        if not found_disks:
            raise MonitorError("the machine has no disk that it may write to")
        return found_disks[0]
    known = drives(monitor)
    for drive in known:
        if wanted in (drive.device, drive.qdev, drive.node):
            return drive
    names = ", ".join(drive.device or drive.qdev for drive in known)
    raise MonitorError(f"the machine has no drive {wanted}; it has: {names}")


def insert(monitor: Monitor, drive: Drive, room_fd: int) -> Names:
    """`room_fd` is an empty file of the disk's size. Raises MonitorError, with nothing left of it."""
    names = Names(secrets.token_hex(4))
    try:
        _insert(monitor, drive, names, room_fd)
    except BaseException:
        remove(monitor, names)
        raise
    return names


def _insert(monitor: Monitor, drive: Drive, names: Names, room_fd: int) -> None:
    handed = monitor.ask("add-fd", handed=room_fd)
    number = handed["fdset-id"] if isinstance(handed, dict) else None
    try:
        _add(monitor, "file", names.room, filename=f"/dev/fdset/{number}", locking="off")
    finally:
        # What was opened stays open; only the name for it goes.
        monitor.ask("remove-fd", fdset_id=number)
    below = drive.node
    if ident_in(below) is not None:
        monitor.ask("object-add", qom_type="throttle-group", id=names.group)
        _add(monitor, "throttle", names.link, file=below, throttle_group=names.group)
        below = names.link
    safely: dict[str, Json] = {"on_cbw_error": "break-snapshot", "cbw_timeout": _COPY_SECONDS}
    _add(monitor, "copy-before-write", names.copy, file=below, target=names.room, **safely)
    _set_drive(monitor, drive, names.copy)
    # Only now: with it there, `copy` would forbid the guest what it is about to be put under.
    _add(monitor, "snapshot-access", names.view, file=names.copy)


def remove(monitor: Monitor, names: Names) -> None:
    """Whatever of it there is. Its export must be gone. Raises MonitorError."""
    graph = Graph(monitor)
    if graph.has(names.view):
        _delete(monitor, names.view)
    if graph.has(names.copy):
        below = graph.below(names.copy)
        _replace(monitor, graph, names.copy, graph.below(below) if below == names.link else below)
        _delete(monitor, names.copy)
    if graph.has(names.link):
        _delete(monitor, names.link)
    if graph.has(names.group):
        monitor.ask("object-del", id=names.group)
    if graph.has(names.room):
        _delete(monitor, names.room)


def _replace(monitor: Monitor, graph: Graph, node: str, by: str) -> None:
    """For the guest, and for the snapshot that lies on it."""
    for drive in drives(monitor):
        if drive.node == node:
            _set_drive(monitor, drive, by)
    for parent in graph.above(node):
        ident = ident_in(parent)
        if ident is not None and parent == Names(ident).link:
            node_options: dict[str, Json] = {"driver": "throttle", "node-name": parent, "file": by}
            monitor.ask("blockdev-reopen", options=[{**node_options, "throttle-group": Names(ident).group}])


def _set_drive(monitor: Monitor, drive: Drive, node: str) -> None:
    monitor.ask("qom-set", path=drive.qdev, property="drive", value=node)


def _add(monitor: Monitor, driver: str, name: str, **options: Json) -> None:
    monitor.ask("blockdev-add", handed=None, driver=driver, node_name=name, **options)


def _delete(monitor: Monitor, name: str) -> None:
    monitor.ask("blockdev-del", node_name=name)
