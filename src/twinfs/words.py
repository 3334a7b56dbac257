"""Figures and names in sentences."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

_SHOWN: Final = 5


def count(number: int, noun: str, plural: str = "") -> str:
    """ "1 file", "12 files", "1,234 entries". `plural` where that is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def some_of(paths: Sequence[bytes], total: int = 0) -> str:
    """ "a, b, c and 9 more" of `total`, or of as many as there are."""
    shown = ", ".join(os.fsdecode(path) or "(everything)" for path in paths[:_SHOWN])
    more = max(total, len(paths)) - min(len(paths), _SHOWN)
    return f"{shown} and {more:,} more" if more else shown
