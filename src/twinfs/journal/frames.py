"""Records in a file that is appended to: each payload with its length and checksum, so that what a kill cut
short is known."""

from __future__ import annotations

import struct
import zlib
from typing import Final

FRAME: Final = struct.Struct("<II")


def framed(payload: bytes) -> bytes:
    """What is written, in one write(2)."""
    return FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def payload_at(data: bytes, position: int) -> bytes | None:
    """The payload of the frame that begins there; None where no whole frame does. The next frame begins
    `FRAME.size` and the payload's length later."""
    start = position + FRAME.size
    if start > len(data):
        return None
    length, checksum = FRAME.unpack_from(data, position)
    payload = data[start : start + length]
    if len(payload) != length or zlib.crc32(payload) != checksum:
        return None
    return payload
