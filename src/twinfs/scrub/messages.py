"""What the reading process and the one that holds the volume say to each other, over a socket pair.

Frames: four bytes of length, then msgpack. What is found goes through the store, so that a kill loses none
of it; a message only says that there is something to look at.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

import msgspec


class Order(msgspec.Struct, tag="order", frozen=True):
    """The first frame: what to do. `max_rate` is bytes a second of each leg, 0 for no limit."""

    store: str
    run: int
    plan: str
    excludes: tuple[str, ...]
    primary_fd: int
    secondary_fd: int
    primary_read: str
    secondary_read: str
    max_rate: float


class GiveWay(msgspec.Struct, tag="give_way", frozen=True):
    """Whether people work on the volume just now."""

    is_busy: bool


class Position(msgspec.Struct, tag="position", frozen=True):
    """How far it is, a few times a second. `suspects` were put into the store."""

    step: str
    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    current: bytes


class Finished(msgspec.Struct, tag="finished", frozen=True):
    """All was read. `error` says why not, and is empty otherwise."""

    error: str = ""


ToWorker: TypeAlias = Order | GiveWay
FromWorker: TypeAlias = Position | Finished

_LENGTH: Final = struct.Struct("<I")
_encode: Final = msgspec.msgpack.Encoder().encode
_to_worker: Final = msgspec.msgpack.Decoder(ToWorker)
_from_worker: Final = msgspec.msgpack.Decoder(FromWorker)


def frame(message: ToWorker | FromWorker) -> bytes:
    payload = _encode(message)
    return _LENGTH.pack(len(payload)) + payload


class Frames:
    """Cuts a stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that are whole now."""
        self._buffer += data
        found = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            found.append(bytes(self._buffer[_LENGTH.size : end]))
            del self._buffer[:end]
        return found


def to_worker(payload: bytes) -> ToWorker:
    message: ToWorker = _to_worker.decode(payload)
    return message


def from_worker(payload: bytes) -> FromWorker:
    message: FromWorker = _from_worker.decode(payload)
    return message
