"""QEMU's block nodes: which disks there are, what lies on what, and which nodes are ours.

Ours are told by their names, so a snapshot needs no record of its own that a crash could leave behind
wrong: `twinfs-IDENT-` and then what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from twinfs.images.running.monitor import Json, Monitor, MonitorError

_OURS: Final = re.compile(r"twinfs-([0-9a-f]{8})(?:-[a-z]+)?")
_Kind = TypeVar("_Kind")


@dataclass(frozen=True, slots=True)
class Names:
    """Of one snapshot's parts."""

    ident: str

    @property
    def export(self) -> str:
        return f"twinfs-{self.ident}"

    @property
    def room(self) -> str:
        """The file that keeps what the guest overwrites."""
        return f"{self.export}-room"

    @property
    def copy(self) -> str:
        """What copies there before the guest writes."""
        return f"{self.export}-copy"

    @property
    def view(self) -> str:
        """The disk as it was."""
        return f"{self.export}-view"

    @property
    def link(self) -> str:
        """Between two snapshots: it can be put on another node while the guest runs, and they cannot."""
        return f"{self.export}-link"

    @property
    def group(self) -> str:
        """What a link needs, being a throttle: one without limits."""
        return f"{self.export}-group"


def ident_in(name: str) -> str | None:
    match = _OURS.fullmatch(name)
    return match[1] if match is not None else None


class _Node(msgspec.Struct):
    id: int
    name: str
    type: str


class _Edge(msgspec.Struct):
    parent: int
    child: int
    name: str


class _Graph(msgspec.Struct):
    nodes: list[_Node]
    edges: list[_Edge]


class _Image(msgspec.Struct, rename="kebab"):
    virtual_size: int


class _Inserted(msgspec.Struct, rename="kebab"):
    node_name: str
    ro: bool
    image: _Image


class Drive(msgspec.Struct, frozen=True):
    """A device of the guest that has a disk in it, or could have."""

    device: str
    """The name of its -drive; empty where it has none."""
    removable: bool = False
    qdev: str = ""
    """The device in QEMU's object tree."""
    inserted: _Inserted | None = None

    @property
    def node(self) -> str:
        assert self.inserted is not None
        return self.inserted.node_name

    @property
    def size_bytes(self) -> int:
        assert self.inserted is not None
        return self.inserted.image.virtual_size


class _Export(msgspec.Struct):
    id: str


class _Property(msgspec.Struct):
    name: str


class Graph:
    """As it is while the monitor is ours."""

    def __init__(self, monitor: Monitor) -> None:
        # Not promised by QEMU, but the only way to learn which node lies on which.
        found = _as(_Graph, monitor.ask("x-debug-query-block-graph"))
        names = {node.id: node.name for node in found.nodes}
        self._edges = [(names[edge.parent], edge.name, names[edge.child]) for edge in found.edges]
        self._nodes = {node.name for node in found.nodes if node.type == "block-driver"}
        # No path where nobody has made an object yet.
        self._objects = {each.name for each in _as(list[_Property], monitor.ask("qom-list", path="/objects"))}

    def has(self, name: str) -> bool:
        return name in self._nodes or name in self._objects

    def below(self, node: str) -> str:
        """What a filter lies on. Raises MonitorError."""
        for parent, kind, child in self._edges:
            if parent == node and kind == "file":
                return child
        raise MonitorError(f"QEMU's node {node} lies on nothing")

    def above(self, node: str) -> Iterator[str]:
        """The nodes that lie on one."""
        for parent, kind, child in self._edges:
            if child == node and kind == "file" and parent in self._nodes:
                yield parent

    def idents(self) -> set[str]:
        """Of all snapshots of which anything is left."""
        return {ident for name in self._nodes | self._objects if (ident := ident_in(name)) is not None}


def drives(monitor: Monitor) -> list[Drive]:
    """Those that the guest can see and that hold a disk."""
    found = _as(list[Drive], monitor.ask("query-block"))
    return [drive for drive in found if drive.qdev and drive.inserted is not None]


def disks(monitor: Monitor) -> list[Drive]:
    """Without CD-ROMs, and without what the firmware keeps its settings in."""
    return [
        drive
        for drive in drives(monitor)
        if not drive.removable and not drive.device.startswith("pflash") and not _is_read_only(drive)
    ]


def _is_read_only(drive: Drive) -> bool:
    return drive.inserted is not None and drive.inserted.ro


def exports(monitor: Monitor) -> list[str]:
    """The identifiers of all exports, ours and others."""
    return [export.id for export in _as(list[_Export], monitor.ask("query-block-exports"))]


def _as(kind: type[_Kind], found: Json | Any) -> _Kind:  # noqa: ANN401  JSON
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise MonitorError(f"QEMU's answer is not understood: {error}") from None
