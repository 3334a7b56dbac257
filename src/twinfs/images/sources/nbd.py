"""A disk that another process exports over NBD, as bytes. Specification: doc/proto.md of the NBD project.

Only what reading takes: the fixed newstyle handshake with NBD_OPT_GO, NBD_CMD_READ, simple replies.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from twinfs.errors import ImageError
from twinfs.fsio import unix_socket

_HELLO: Final = struct.Struct(">8s8sH")
_OPTION: Final = struct.Struct(">8sII")
_OPTION_REPLY: Final = struct.Struct(">QIII")
_OPTION_REPLY_MAGIC: Final = 0x3E889045565A9
_REQUEST: Final = struct.Struct(">IHHQQI")
_REQUEST_MAGIC: Final = 0x25609513
_REPLY: Final = struct.Struct(">IIQ")
_REPLY_MAGIC: Final = 0x67446698
_FIXED_NEWSTYLE: Final = 1
_NO_ZEROES: Final = 2
_OPT_GO: Final = 7
_REP_ACK: Final = 1
_REP_INFO: Final = 3
_INFO_EXPORT: Final = 0
_MAX_OPTION_BYTES: Final = 1 << 16
_PIECE_BYTES: Final = 64 << 10
"""No request reaches beyond a multiple of this, the unit in which QEMU copies before a write.

QEMU 7.2 answers one that begins where the guest has written since and ends where it has not with what is
there now, all of it.
"""
_PIECES: Final = 64
CONNECT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Export:
    """Where a disk is exported: a Unix socket, and a name there."""

    path: Path
    name: str

    def connect(self) -> socket.socket:
        """Not greeted yet: see NbdSource. Raises ImageError."""
        try:
            made = unix_socket.connect(self.path, CONNECT_SECONDS)
        except OSError as error:
            raise ImageError(f"the machine does not answer any more: {error.strerror or error}") from None
        # Whoever it is handed to would inherit that it does not block.
        made.settimeout(None)
        return made


class NbdSource:
    """Reads one request at a time; threads may share it. Close it when done."""

    def __init__(self, channel: socket.socket, name: str) -> None:
        """Takes over a fresh connection. Raises ImageError."""
        self._channel = channel
        self._lock = threading.Lock()
        self._cookie = 0
        self._reason = ""
        """Why nothing more can be read."""
        self.mtime_ns = time.time_ns()
        try:
            self.size_bytes = self._greet(name)
        except OSError as error:
            raise ImageError(f"the machine does not answer: {error.strerror or error}") from None

    def _greet(self, name: str) -> int:
        magic, option_magic, flags = _HELLO.unpack(self._receive(_HELLO.size))
        if (magic, option_magic) != (b"NBDMAGIC", b"IHAVEOPT") or not flags & _FIXED_NEWSTYLE:
            raise ImageError("what answers there is no NBD server")
        wanted = struct.pack(">I", len(name.encode())) + name.encode() + struct.pack(">H", 0)
        client = struct.pack(">I", _FIXED_NEWSTYLE | flags & _NO_ZEROES)
        self._channel.sendall(client + _OPTION.pack(b"IHAVEOPT", _OPT_GO, len(wanted)) + wanted)
        size = -1
        while True:
            magic, option, kind, length = _OPTION_REPLY.unpack(self._receive(_OPTION_REPLY.size))
            if magic != _OPTION_REPLY_MAGIC or option != _OPT_GO or length > _MAX_OPTION_BYTES:
                raise ImageError("what answers there is no NBD server")
            data = self._receive(length)
            if kind == _REP_ACK and size >= 0:
                return size
            if kind == _REP_INFO and length >= 12 and data[:2] == struct.pack(">H", _INFO_EXPORT):
                (size,) = struct.unpack_from(">Q", data, 2)
            elif kind != _REP_INFO:
                raise ImageError(f"the machine exports no {name}: {data.decode(errors='replace')}")

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        end = min(offset_bytes + length, self.size_bytes)
        if offset_bytes < 0 or end <= offset_bytes:
            return b""
        found = bytearray(end - offset_bytes)
        view, position = memoryview(found), offset_bytes
        with self._lock:
            while position < end:
                stop = min(end, position - position % _PIECE_BYTES + _PIECES * _PIECE_BYTES)
                self._read(position, view[position - offset_bytes : stop - offset_bytes])
                position = stop
        return bytes(found)

    def _read(self, offset_bytes: int, view: memoryview) -> None:
        """All pieces are asked for at once; answers come in any order."""
        if self._reason:
            raise ImageError(self._reason)
        waiting: dict[int, memoryview] = {}
        requests = bytearray()
        at = 0
        while at < len(view):
            length = min(len(view) - at, _PIECE_BYTES - (offset_bytes + at) % _PIECE_BYTES)
            self._cookie += 1
            waiting[self._cookie] = view[at : at + length]
            requests += _REQUEST.pack(_REQUEST_MAGIC, 0, 0, self._cookie, offset_bytes + at, length)
            at += length
        try:
            self._channel.sendall(requests)
            errors = [error for _ in range(len(waiting)) if (error := self._take_answer(waiting))]
        except OSError as failure:
            self._reason = f"the machine has ended, and its snapshot with it ({failure.strerror})"
            raise ImageError(self._reason) from None
        if errors:
            raise ImageError(
                f"the machine has given its snapshot up (error {errors[0]} at byte {offset_bytes})"
            )

    def _take_answer(self, waiting: dict[int, memoryview]) -> int:
        """0, or the server's error for that piece."""
        magic, error, cookie = _REPLY.unpack(self._receive(_REPLY.size))
        view = waiting.pop(cookie, None)
        if magic != _REPLY_MAGIC or view is None:
            raise ConnectionError(None, "its answer makes no sense")
        if not error:
            self._fill(view)
        return int(error)

    def _receive(self, length: int) -> bytes:
        found = bytearray(length)
        self._fill(memoryview(found))
        return bytes(found)

    def _fill(self, view: memoryview) -> None:
        while view:
            count = self._channel.recv_into(view)
            if count == 0:
                raise ConnectionResetError(None, "it closed the connection")
            view = view[count:]

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        """All of it: holes are not asked for."""
        end = min(offset_bytes + length, self.size_bytes)
        if 0 <= offset_bytes < end:
            yield offset_bytes, end - offset_bytes

    def has_changed(self) -> bool:
        """A snapshot stays as it is."""
        return False

    def close(self) -> None:
        self._channel.close()
