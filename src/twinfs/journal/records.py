"""What the intent log holds.

Paths are relative to a leg's root, without a leading slash, as they were when the record was written;
the secondary, which replays in order, is then in just that state. `ino` is the primary's inode number
(the node number of mirror/nodes.py).
"""

from __future__ import annotations

from typing import Final

import msgspec

WHOLE_FILE: Final = -1
"""As `end` of a `Stale` record: everything from `start` on."""


class Create(msgspec.Struct, array_like=True, tag=1, frozen=True):
    """A new name for a new object. `mode` includes the type; `target` is a symbolic link's text."""

    path: bytes
    mode: int
    uid: int
    gid: int
    rdev: int
    target: bytes


class Link(msgspec.Struct, array_like=True, tag=2, frozen=True):
    """Another name, `path`, for the file at `source`."""

    source: bytes
    path: bytes


class Remove(msgspec.Struct, array_like=True, tag=3, frozen=True):
    """A name is gone. `is_last` when no other name of the file is left. `is_torn`: what the secondary has
    there was never the file."""

    path: bytes
    is_directory: bool
    is_last: bool
    is_torn: bool = False


class Rename(msgspec.Struct, array_like=True, tag=4, frozen=True):
    """`source`, the object `ino`, is now `path`; what stood there is gone, or with `is_exchange` at
    `source`. `is_torn`: what the secondary has at `path` was never the file that is replaced."""

    source: bytes
    path: bytes
    is_exchange: bool
    ino: int
    is_torn: bool = False


class Commit(msgspec.Struct, array_like=True, tag=5, frozen=True):
    """The primary did what the record of the same number says; `ino` is the object's."""

    ino: int


class Abort(msgspec.Struct, array_like=True, tag=6, frozen=True):
    """The primary refused what the record of the same number says."""


class Applied(msgspec.Struct, array_like=True, tag=7, frozen=True):
    """The secondary has every name change up to this number."""


class Stale(msgspec.Struct, array_like=True, tag=8, frozen=True):
    """Metadata, and content in [start, end), of an object may differ between the legs. `is_direct`: callers
    write to the secondary, too, so what that has until the next copy may be neither old nor new."""

    ino: int
    path: bytes
    start: int
    end: int
    is_direct: bool = False


class Cleared(msgspec.Struct, array_like=True, tag=9, frozen=True):
    """The secondary has what `Stale` records of this object up to this number said."""

    ino: int


class Compare(msgspec.Struct, array_like=True, tag=10, frozen=True):
    """Everything at and below `path` may differ: compare it all.

    Files changed at or after `distrust_ns` (since the epoch; 0 for none) are compared byte by byte:
    after a power cut equal sizes and times prove nothing about them. The same goes for files that the
    primary alone changed at or after `changed_ns`: the kernel may still keep their new mtime to itself.
    `is_keeping`: what differs on the secondary may be somebody's only copy, and goes to quarantine.
    """

    path: bytes
    distrust_ns: int
    changed_ns: int = 0
    is_keeping: bool = False


class Compared(msgspec.Struct, array_like=True, tag=11, frozen=True):
    """The `Compare` record of the same number is done."""


class Header(msgspec.Struct, array_like=True, tag=12, frozen=True):
    """First record of a log.

    `boot_id` tells whether the page cache it was written through still lives; `since_ns` (since the
    epoch) is when both legs were last known durable and equal but for what the log says; `excludes`
    is what was left out of the mirror. `session` is in the primary's label, too: another one there says
    that the legs were used since with another log. `is_renumbered`: the legs changed their roles in
    this session, and inode numbers are not those of the primary's file system. `follows` is the session
    before: of a kill between the log's beginning and the label's, the label still says that.
    """

    version: int
    volume_id: str
    boot_id: str
    since_ns: int
    excludes: str
    session: str = ""
    is_renumbered: bool = False
    follows: str = ""


class Closed(msgspec.Struct, array_like=True, tag=13, frozen=True):
    """Last record of a log that was closed with nothing pending and both legs durable."""


class Exclude(msgspec.Struct, array_like=True, tag=14, frozen=True):
    """`path` left the mirrored part of the tree: the secondary drops it and all below."""

    path: bytes


class Swapping(msgspec.Struct, array_like=True, tag=15, frozen=True):
    """The exchange of the same number is about to be done on the secondary, where `source` is `ino`."""

    ino: int


class Touched(msgspec.Struct, array_like=True, tag=16, frozen=True):
    """The times of `path` may differ: a change of names that both legs have moved them."""

    path: bytes


class Clock(msgspec.Struct, array_like=True, tag=20, frozen=True):
    """What follows was recorded at `at` (seconds since the epoch) or up to a second later."""

    at: float


NameChange = Create | Link | Remove | Rename | Exclude
Record = (
    NameChange
    | Commit
    | Abort
    | Applied
    | Stale
    | Cleared
    | Compare
    | Compared
    | Header
    | Closed
    | Swapping
    | Touched
    | Clock
)


def parent_of(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def touched_by(change: NameChange) -> tuple[bytes, ...]:
    """The paths whose times a change moves: the directories, and what is new."""
    match change:
        case Create(path) | Link(_, path):
            # The link's name, too: it may be the only one by the time that times are copied.
            return path, parent_of(path)
        case Rename(source, path):
            return parent_of(source), parent_of(path)
        case Remove(path) | Exclude(path):
            return (parent_of(path),)


def renamed(path: bytes, change: Rename) -> bytes:
    """What `path` is called after `change`."""
    if moved := _moved(path, change.source, change.path):
        return moved
    if change.is_exchange and (moved := _moved(path, change.path, change.source)):
        return moved
    return path


def _moved(path: bytes, old: bytes, new: bytes) -> bytes | None:
    if path == old:
        return new
    if path.startswith(old + b"/"):
        return new + path[len(old) :]
    return None
