"""A count that grows while a long operation gets on, so that a slow reader can be told from a stuck one."""

from __future__ import annotations

_steps = 0


def advance() -> None:
    """Something came out: an entry listed, a piece decoded. Not merely something read: a loop reads, too."""
    global _steps
    _steps += 1  # lost counts between threads do not matter, standing still does


def steps() -> int:
    return _steps
