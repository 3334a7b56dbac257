"""The daemon's log: a file of bounded size in the volume's state directory; events and warnings also go to
the machine's log."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from io import TextIOWrapper
from pathlib import Path

from twinfs.daemon.syslog import JournalFormatter, SyslogHandler, is_journal

_MAX_BYTES = 1 << 20
_KEPT_FILES = 2
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _PrivateFile(logging.handlers.RotatingFileHandler):
    """For its owner alone: lines name files in directories that others may not look into."""

    def _open(self) -> TextIOWrapper:
        fd = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(fd, 0o600)
        return TextIOWrapper(open(fd, "ab"), encoding=self.encoding, errors=self.errors)


def configure(path: Path, *, also_to_stderr: bool) -> None:
    """Send every logger's warnings and infos to the file, and to the terminal in the foreground.

    Where stderr is the journal, lines carry their priority. In the background, where nobody reads
    stderr, events and warnings go to the machine's log.
    """
    file = _PrivateFile(
        path, maxBytes=_MAX_BYTES, backupCount=_KEPT_FILES, encoding="utf-8", errors="backslashreplace"
    )
    handlers: list[logging.Handler] = [file]
    system = system_log()
    if also_to_stderr:
        handlers.append(logging.StreamHandler(sys.stderr))
        if is_journal(sys.stderr.fileno()):
            handlers[-1].setFormatter(JournalFormatter())
    elif system is not None:
        handlers.append(SyslogHandler(system))
    logging.basicConfig(level=logging.INFO, format=_FORMAT, handlers=handlers, force=True)
    logging.captureWarnings(True)


def system_log() -> Path | None:
    """The socket of the machine's log: TWINFS_SYSLOG, where that is set, empty for none; else /dev/log."""
    path = os.environ.get("TWINFS_SYSLOG", "/dev/log")
    return Path(path) if path else None
