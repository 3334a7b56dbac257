"""Names out of images as names that a directory can hold."""

from __future__ import annotations

import hashlib
from typing import Final

_MAX_BYTES: Final = 1000
"""The kernel refuses a whole FUSE directory for one name beyond 1024 bytes."""
_KEPT_BYTES: Final = 900


def escaped(name: bytes) -> bytes:
    """The name, with what would lead elsewhere written in hexadecimal: `/`, NUL, `.`, `..`, nothing.

    A damaged or hostile image can hold all of these.
    """
    if name in (b"", b".", b".."):
        return b"%2E" * len(name) or b"%"
    if b"/" in name or b"\0" in name:
        name = name.replace(b"/", b"%2F").replace(b"\0", b"%00")
    if len(name) > _MAX_BYTES:
        digest = hashlib.sha256(name).hexdigest()[:16].encode()
        return name[:_KEPT_BYTES] + b"%" + digest
    return name
