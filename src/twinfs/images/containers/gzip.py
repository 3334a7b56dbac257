"""gzip as bytes at any offset. Source: RFC 1952; members one after another are one stream, as gzip(1) has it.

The first pass decodes all of it, for gzip tells its size modulo 4 GiB at best, and leaves restart points on
the way: copies of the decoder's state. A read decodes on from the one before it.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from twinfs.errors import ImageError
from twinfs.images import progress
from twinfs.images.protocol import ByteSource

_INPUT_BYTES: Final = 64 << 10
_OUTPUT_BYTES: Final = 1 << 20
_FIRST_INTERVAL_BYTES: Final = 2 << 20
_MAX_POINTS: Final = 400
"""Each is some 40 KiB of decoder state: 16 MB in all. Beyond that every other one goes."""
_GZIP: Final = 16 + zlib.MAX_WBITS


@dataclass(slots=True)
class _Point:
    """A decoder that has taken the input before `input_bytes` and made the output before `output_bytes`."""

    output_bytes: int
    input_bytes: int
    decoder: Any
    pending: bytes


class GzipSource:
    """One reader at a time; put a cache before it."""

    def __init__(self, compressed: ByteSource) -> None:
        self._compressed = compressed
        self._lock = threading.Lock()
        self._points = [_Point(0, 0, zlib.decompressobj(_GZIP), b"")]
        self._interval = _FIRST_INTERVAL_BYTES
        self._current = self._restart(0)
        self.size_bytes = self._measure()

    def _measure(self) -> int:
        while piece := self._step():
            self._remember()
            progress.advance()
            del piece
        return self._current.output_bytes

    def _restart(self, offset_bytes: int) -> _Point:
        found = max(
            (point for point in self._points if point.output_bytes <= offset_bytes),
            key=lambda point: point.output_bytes,
        )
        return _Point(found.output_bytes, found.input_bytes, found.decoder.copy(), found.pending)

    def _remember(self) -> None:
        now = self._current
        if now.output_bytes - self._points[-1].output_bytes < self._interval or now.decoder.eof:
            return
        self._points.append(_Point(now.output_bytes, now.input_bytes, now.decoder.copy(), now.pending))
        if len(self._points) > _MAX_POINTS:
            self._points = self._points[::2]
            self._interval *= 2

    def _step(self) -> bytes:
        """The next piece of output; empty at the end. Raises ImageError."""
        now = self._current
        while True:
            if now.decoder.eof and not self._next_member(now):
                return b""
            if not now.pending:
                now.pending = self._compressed.read_at(now.input_bytes, _INPUT_BYTES)
                now.input_bytes += len(now.pending)
                if not now.pending:
                    raise ImageError(f"gzip: ends in the middle of its data, at byte {now.input_bytes}")
            try:
                made: bytes = now.decoder.decompress(now.pending, _OUTPUT_BYTES)
            except zlib.error as error:
                raise ImageError(f"gzip: before byte {now.input_bytes}: {error}") from None
            now.pending = now.decoder.unconsumed_tail or now.decoder.unused_data
            now.output_bytes += len(made)
            if made:
                return made

    def _next_member(self, now: _Point) -> bool:
        """Whether another begins. Zeros after the last one are padding of tapes, as gzip(1) has it."""
        rest = now.decoder.unused_data
        while not rest.strip(b"\0"):
            rest = self._compressed.read_at(now.input_bytes, _INPUT_BYTES)
            now.input_bytes += len(rest)
            if not rest:
                return False
        rest = rest.lstrip(b"\0")
        if not rest.startswith(b"\x1f"):
            return False  # trailing garbage, which gzip(1) ignores with a warning
        now.decoder, now.pending = zlib.decompressobj(_GZIP), rest
        return True

    def read_at(self, offset_bytes: int, length: int) -> bytes:
        length = min(length, self.size_bytes - offset_bytes)
        if length <= 0 or offset_bytes < 0:
            return b""
        with self._lock:
            restart = self._restart(offset_bytes)
            if not restart.output_bytes <= self._current.output_bytes <= offset_bytes:
                self._current = restart
            return self._collect(offset_bytes, length)

    def _collect(self, offset_bytes: int, length: int) -> bytes:
        pieces: list[bytes] = []
        end = offset_bytes + length
        while self._current.output_bytes < end:
            start = self._current.output_bytes
            piece = self._step()
            if not piece:
                raise ImageError("gzip: became shorter while open")
            pieces.append(piece[max(0, offset_bytes - start) : max(0, end - start)])
            progress.advance()
        return b"".join(pieces)

    def data_ranges(self, offset_bytes: int, length: int) -> Iterator[tuple[int, int]]:
        end = min(offset_bytes + length, self.size_bytes)
        if end > offset_bytes:
            yield offset_bytes, end - offset_bytes
