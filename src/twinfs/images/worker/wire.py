"""What goes over the socket: msgpack in frames, each with its length before it.

A request is (id, method, arguments); an answer (id, status, result), its id that of the request.
"""

from __future__ import annotations

import struct
from typing import Any, Final, TypeAlias

import msgspec

from twinfs.errors import ImageError
from twinfs.images.luks.derive import Derivation
from twinfs.images.protocol import DirectoryEntry, InodeStat

OK: Final = 0
FAILED: Final = 1
"""The result is the message of an ImageError."""
CHANGED: Final = 3
"""As FAILED: the image file was written to since it was opened, so nothing more will be read from it."""
ALIVE: Final = 2
"""No answer yet, but it gets on: the result is a count that grows. Its id is 0."""

ROOT: Final = 1
"""The inode of an image's top directory. Here, so that asking needs nothing of what answers."""

HEAD: Final = struct.Struct("=I")
MAX_REQUEST_BYTES: Final = 1 << 16
MAX_ANSWER_BYTES: Final = 32 << 20

Request: TypeAlias = tuple[int, str, tuple[Any, ...]]
Answer: TypeAlias = tuple[int, int, Any]
PackedStat: TypeAlias = tuple[int, ...]
PackedEntry: TypeAlias = tuple[bytes, PackedStat]
Batch: TypeAlias = tuple[list[PackedEntry], bool]
"""Entries of a directory, and whether they are the last."""

_encoder = msgspec.msgpack.Encoder()
_request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answer_decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def frame(message: Request | Answer) -> bytes:
    body = _encoder.encode(message)
    return HEAD.pack(len(body)) + body


def request_of(body: bytes) -> Request:
    return _request_decoder.decode(body)


def answer_of(body: bytes) -> Answer:
    return _answer_decoder.decode(body)


# Tuples, not maps: a directory of 20,000 entries would say each field's name 20,000 times.


def pack_stat(found: InodeStat) -> PackedStat:
    return (
        found.inode,
        found.mode,
        found.link_count,
        found.uid,
        found.gid,
        found.device,
        found.size_bytes,
        found.blocks,
        found.atime_ns,
        found.mtime_ns,
        found.ctime_ns,
    )


def unpack_stat(packed: PackedStat) -> InodeStat:
    return InodeStat(*packed)


def unpack_entry(packed: PackedEntry) -> tuple[DirectoryEntry, InodeStat]:
    name, packed_stat = packed
    found = unpack_stat(packed_stat)
    return DirectoryEntry(name, found.inode, found.mode & 0o170000), found


def derivation_of(found: object) -> Derivation:
    """A reader may have been misled: what it asks for is looked at here. Raises ImageError."""
    try:
        return msgspec.convert(found, Derivation)
    except msgspec.ValidationError as error:
        raise ImageError(f"the reader's answer makes no sense: {error}") from None
