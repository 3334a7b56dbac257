"""LZ4 blocks. Source: lz4_Block_format.md of the LZ4 project."""

from __future__ import annotations

from twinfs.errors import ImageError


def whole(raw: bytes, size: int) -> bytes:
    """A block that ends where `raw` does; empty or shorter where it is damaged."""
    # Not above: the library takes a tenth of a second, which a file system without compression need not pay.
    from twinfs.images.explorer.library import lz4_block

    return lz4_block(raw, size)


def beginning(raw: bytes, size: int) -> bytes:
    """The first `size` bytes of what a block decodes to, whatever is behind it. Raises ImageError."""
    made, at = bytearray(), 0
    try:
        while len(made) < size:
            token = raw[at]
            count, at = _length(raw, at + 1, token >> 4)
            if at + count > len(raw):
                raise IndexError
            made += raw[at : at + count]
            at += count
            if len(made) >= size:
                break
            distance = raw[at] | raw[at + 1] << 8
            count, at = _length(raw, at + 2, token & 15)
            if not 0 < distance <= len(made):
                raise IndexError
            count = min(count + 4, size - len(made))
            piece = made[len(made) - distance :][:count]
            made += (piece * (count // len(piece) + 1))[:count]
    except IndexError:
        raise ImageError("erofs: LZ4 data are damaged") from None
    return bytes(made[:size])


def _length(raw: bytes, at: int, short: int) -> tuple[int, int]:
    if short == 15:
        while True:
            short += raw[at]
            at += 1
            if raw[at - 1] != 255:
                break
    return short, at
