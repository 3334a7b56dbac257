"""Names as the library has them, text, and as they are, bytes."""

from __future__ import annotations


def to_bytes(name: str, *, is_utf16: bool) -> bytes:
    """As the library decoded it: undecodable bytes as escapes, halves of surrogate pairs as they are."""
    return name.encode("utf-8", "surrogatepass" if is_utf16 else "surrogateescape")


def to_text(name: bytes, *, is_utf16: bool) -> str:
    """Raises UnicodeDecodeError where no name of that file system can be so."""
    return name.decode("utf-8", "surrogatepass" if is_utf16 else "surrogateescape")
