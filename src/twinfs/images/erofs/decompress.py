"""What EROFS compresses with: each extent is a stream of its own, behind the zeros that fill its blocks.

Sources: fs/erofs/decompressor*.c of Linux; "The .lzma file format" and microlzma.c of XZ Utils.
"""

from __future__ import annotations

import lzma
import zlib
from enum import IntEnum
from typing import Final

from twinfs.images.erofs import lz4

_LEAST_DICTIONARY_BYTES: Final = 4096


class Algorithm(IntEnum):
    """As the head of a file's index numbers them."""

    LZ4 = 0
    MICROLZMA = 1
    DEFLATE = 2
    ZSTANDARD = 3


def decompressed(algorithm: Algorithm, raw: bytes, size: int) -> bytes:
    """`size` bytes; fewer where the stream is damaged."""
    raw = raw.lstrip(b"\0")
    match algorithm:
        case Algorithm.LZ4:
            return lz4.whole(raw, size)
        case Algorithm.MICROLZMA:
            return _microlzma(raw, size)
        case Algorithm.DEFLATE:
            return _deflate(raw, size)
        case Algorithm.ZSTANDARD:
            # Not above: the library takes a tenth of a second, which others need not pay.
            from twinfs.images.explorer.library import zstd_beginning

            return zstd_beginning(raw, size)


def _microlzma(raw: bytes, size: int) -> bytes:
    """LZMA without a header: its first byte, always zero, is replaced by the inverted properties."""
    properties = ~raw[0] & 0xFF if raw else 0xFF
    if properties >= 9 * 5 * 5:
        return b""
    chosen = {
        "id": lzma.FILTER_LZMA1,
        "lc": properties % 9,
        "lp": properties // 9 % 5,
        "pb": properties // 45,
        # No stream refers to what is before its own beginning.
        "dict_size": max(_LEAST_DICTIONARY_BYTES, size),
    }
    try:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chosen])
        return decoder.decompress(b"\0" + raw[1:], size)
    except (lzma.LZMAError, ValueError):
        return b""


def _deflate(raw: bytes, size: int) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(raw, size)
    except zlib.error:
        return b""
