"""The daemon's log: a file of bounded size in the volume's state directory."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from pathlib import Path

_MAX_BYTES = 1 << 20
_KEPT_FILES = 2
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure(path: Path, *, also_to_stderr: bool) -> None:
    """Send every logger's warnings and infos to the file, and to the terminal in the foreground."""
    file = logging.handlers.RotatingFileHandler(
        path, maxBytes=_MAX_BYTES, backupCount=_KEPT_FILES, encoding="utf-8", errors="backslashreplace"
    )
    handlers: list[logging.Handler] = [file]
    if also_to_stderr:
        handlers.append(logging.StreamHandler(sys.stderr))
    logging.basicConfig(level=logging.INFO, format=_FORMAT, handlers=handlers, force=True)
    logging.captureWarnings(True)
