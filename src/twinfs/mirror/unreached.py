"""What the old primary had and the new one never got: listed durably before the roles change.

In batched mode a primary that dies takes its last changes along. Nobody should have to guess which.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Container
from pathlib import Path
from typing import Final

import msgspec

from twinfs.fsio.durable import replace_file
from twinfs.journal.records import NameChange, Rename
from twinfs.journal.replay import Recovered
from twinfs.mirror.core import Core
from twinfs.mirror.nodes import Node, NodeTable

_NAME: Final = b"unreached.json"


class Unreached(msgspec.Struct, frozen=True):
    """`paths` are relative to the volume's root; `time` is seconds since the epoch."""

    paths: tuple[str, ...] = ()
    time: float = 0.0


def paths_of(core: Core) -> list[bytes]:
    """Of a running volume, in no particular order and each once."""
    behind = (node for node in core.stale.values() if _is_behind(node))
    return list(_changed_names(core) | dict.fromkeys(node.path() for node in behind))


def lost_with_primary(core: Core) -> tuple[list[bytes], list[Node]]:
    """(paths, nodes): `paths_of` without what the primary only ever refused; and all that may be
    another object, or have other content, on the secondary than it had on the primary. A directory has no
    content: it is another one only where its own name was given to it since."""
    names = _changed_names(core)
    nodes = [node for node in core.stale.values() if _is_behind(node) and not _is_unanswered(node)]
    paths = names | dict.fromkeys(node.path() for node in nodes)
    moved = (node for node in core.nodes if names and _has_name_beneath(core, node, names))
    given = _pending_names(core)
    lost = dict.fromkeys((*nodes, *moved))
    return list(paths), [node for node in lost if not node.is_directory or node.path() in given]


def _changed_names(core: Core) -> dict[bytes, None]:
    """Each with what is below it."""
    return _pending_names(core) | dict.fromkeys(record.path for record in core.compares.values())


def _pending_names(core: Core) -> dict[bytes, None]:
    return dict.fromkeys(name for change in core.pending for name in _named(change.names))


def places_of(nodes: NodeTable, paths: Collection[bytes]) -> list[tuple[int, bytes]]:
    """(number of the directory, name) of those whose directory is there and known."""
    known: dict[bytes, Node | None] = {b"": nodes.root}
    for above in {path.rpartition(b"/")[0] for path in paths} - {b""}:
        with contextlib.suppress(OSError):
            status = os.stat(above, dir_fd=nodes.root.dir_fd, follow_symlinks=False)
            known[above] = nodes.standing_for(status.st_dev, status.st_ino)
    split = (path.rpartition(b"/") for path in paths)
    found = ((known.get(above), name) for above, _, name in split)
    return [(directory.ident, name) for directory, name in found if directory is not None]


def _is_behind(node: Node) -> bool:
    return node.stale is not None and node.stale.is_behind and not node.stale.is_ahead


def _is_unanswered(node: Node) -> bool:
    return node.stale is not None and node.stale.is_unanswered


def _has_name_beneath(core: Core, node: Node, places: Container[bytes]) -> bool:
    """Whether one of its names, or a directory that leads to it, is one of the `places`."""
    for parent, name in core.nodes.names(node):
        path = parent.child_path(name)
        while path:
            if path in places:
                return True
            path = path.rpartition(b"/")[0]
    return False


def paths_left(recovered: Recovered) -> list[bytes]:
    """Of a log that a session left."""
    found: dict[bytes, None] = {}
    for names, _ in recovered.changes.values():
        found.update(dict.fromkeys(_named(names)))
    found.update(dict.fromkeys(stale.path for stale in recovered.stale.values()))
    found.update(dict.fromkeys(record.path for record in recovered.compares.values()))
    return list(found)


def _named(change: NameChange) -> tuple[bytes, ...]:
    return (change.source, change.path) if isinstance(change, Rename) else (change.path,)


def save(directory: Path, paths: list[bytes]) -> Unreached:
    """Add to what is there; durable before it returns."""
    known = load(directory)
    merged = dict.fromkeys((*known.paths, *(path.decode(errors="replace") for path in sorted(paths))))
    unreached = Unreached(tuple(merged), time.time())
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        replace_file(fd, _NAME, msgspec.json.encode(unreached), 0o600)
    finally:
        os.close(fd)
    return unreached


def load(directory: Path) -> Unreached:
    """Nothing when there is no such list, or it cannot be read."""
    try:
        return msgspec.json.decode((directory / os.fsdecode(_NAME)).read_bytes(), type=Unreached)
    except (OSError, msgspec.MsgspecError):
        return Unreached()


def forget(directory: Path) -> None:
    """The old primary is back; what only it had is in its quarantine."""
    with contextlib.suppress(FileNotFoundError):
        (directory / os.fsdecode(_NAME)).unlink()
