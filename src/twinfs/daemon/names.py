"""What volumes may be called."""

from __future__ import annotations

import re
from typing import Final

from twinfs.errors import UsageError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """A volume's name becomes file names and a socket's name: letters, digits, dot, dash, underscore."""
    if not is_name(name):
        raise UsageError(
            f"{name!r} cannot be a volume's name: 1 to 64 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit"
        )
    return name
