"""What must know where an object is on the secondary while its names change."""

from __future__ import annotations

from typing import Final, Protocol

GONE: Final = b"/"
"""The path of what was removed from the secondary meanwhile: no name is like it."""


class Follower(Protocol):
    """`path` is told of every rename."""

    path: bytes
