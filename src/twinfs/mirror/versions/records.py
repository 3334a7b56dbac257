"""What the log of versions holds: what it takes to undo each change of the secondary, in order.

Paths are relative to the leg's root, as they were just before the change. `time_ns` (since the epoch) is when
the volume's user made the change, where that is known, else when the secondary got it. `change` is the number
of the change in the intent log, 0 for contents. `parent_mtime_ns` is what the directory's mtime was before.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

NOTHING = -1
"""As `Kept.number`: there is no object."""


class Why(StrEnum):
    """What became of the object that was kept."""

    DELETED = "deleted"
    REPLACED = "replaced"
    REWRITTEN = "rewritten"
    TRUNCATED = "truncated"


class Kept(msgspec.Struct, array_like=True, frozen=True):
    """An object as it was before the change.

    `number` is what it is called in its segment; NOTHING for a directory, for a name of a file that had
    others (`links` > 1: its content went on under those) and for what could not be kept. `ino` and `handle`
    (see `file_handle`) tell which file a name was of. `xattrs` are a directory's.
    """

    number: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ino: int
    links: int
    used_bytes: int = 0
    handle: bytes = b""
    xattrs: dict[str, bytes] = {}


class Made(msgspec.Struct, array_like=True, tag=1, frozen=True):
    """`path` came into being; nothing was there."""

    time_ns: int
    change: int
    path: bytes
    parent_mtime_ns: int


class Gone(msgspec.Struct, array_like=True, tag=2, frozen=True):
    """`path` is no more, or about to be another object."""

    time_ns: int
    change: int
    path: bytes
    parent_mtime_ns: int
    kept: Kept
    why: Why


class Moved(msgspec.Struct, array_like=True, tag=3, frozen=True):
    """`source` is `path` now; with `is_exchange` the reverse as well."""

    time_ns: int
    change: int
    source: bytes
    path: bytes
    is_exchange: bool
    source_parent_mtime_ns: int
    parent_mtime_ns: int


class Changed(msgspec.Struct, array_like=True, tag=4, frozen=True):
    """The file at `path` has other content."""

    time_ns: int
    change: int
    path: bytes
    kept: Kept
    why: Why


class Filling(msgspec.Struct, array_like=True, tag=5, frozen=True):
    """The file `ino` is being written in place by a copy: until `Filled` it is no version of anything."""

    ino: int


class Filled(msgspec.Struct, array_like=True, tag=6, frozen=True):
    """What `Filling` said is over, well."""

    ino: int


NameRecord = Made | Gone | Moved
Record = Made | Gone | Moved | Changed | Filling | Filled

_decoder = msgspec.msgpack.Decoder(Record)
encode = msgspec.msgpack.Encoder().encode


def decode(payload: bytes) -> Record:
    """Raises msgspec.MsgspecError."""
    record: Record = _decoder.decode(payload)
    return record


def kept_of(record: Record) -> Kept | None:
    return record.kept if isinstance(record, Gone | Changed) else None
