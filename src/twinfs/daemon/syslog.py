"""Log records to the machine's log, where there is one: journald's or a syslog daemon's socket.

Never waits: a log that does not keep up loses lines, a volume must not lose time. Source: RFC 3164 as
journald and rsyslog read it from /dev/log.
"""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Final

from twinfs.model import Severity
from twinfs.report.plain_text import readable

_FACILITY_DAEMON: Final = 3 << 3
_MAX_BYTES: Final = 8192
_PRIORITIES: Final = {Severity.INFO: 6, Severity.WARNING: 4, Severity.ERROR: 3}

SEVERITY: Final = "severity"
"""The attribute of a record that says how urgent an event is: its level is for our own log."""


def priority_of(record: logging.LogRecord) -> int:
    """As in sd-daemon(3): 3 error, 4 warning, 6 information, 7 for debugging."""
    severity = getattr(record, SEVERITY, None)
    if isinstance(severity, Severity):
        return _PRIORITIES[severity]
    if record.levelno >= logging.WARNING:
        return 3 if record.levelno >= logging.ERROR else 4
    return 6 if record.levelno >= logging.INFO else 7


class JournalFormatter(logging.Formatter):
    """For a stderr that is the journal: a priority before each line; the time it knows itself."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        priority = priority_of(record)
        text = record.getMessage() if hasattr(record, SEVERITY) else super().format(record)
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines())


def is_journal(fd: int) -> bool:
    """Whether the descriptor is a stream to the journal. Source: systemd.exec(5), JOURNAL_STREAM."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def send(path: Path, severity: Severity, text: str) -> None:
    """One line to the log at `path`. Raises OSError."""
    with _connect(path) as log:
        log.send(_line(_PRIORITIES[severity], text))


def _connect(path: Path) -> socket.socket:
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    log = socket.socket(socket.AF_UNIX, kind)
    try:
        log.connect(os.fspath(path))
    except OSError:
        log.close()
        raise
    return log


def _line(priority: int, text: str) -> bytes:
    plain = readable(" ".join(text.splitlines()))
    return f"<{_FACILITY_DAEMON | priority}>twinfs[{os.getpid()}]: {plain}".encode()[:_MAX_BYTES]


class SyslogHandler(logging.Handler):
    """Events, and what else is a warning or worse; the rest stays in the daemon's own log."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._socket: socket.socket | None = None
        self.setFormatter(logging.Formatter("%(message)s"))

    def filter(self, record: logging.LogRecord) -> bool:
        return hasattr(record, SEVERITY) or record.levelno >= logging.WARNING

    def emit(self, record: logging.LogRecord) -> None:
        data = _line(priority_of(record), self.format(record))
        if not self._send(data):
            # The log's daemon was started again, perhaps: its socket is another one then.
            self._hang_up()
            self._send(data)

    def _send(self, data: bytes) -> bool:
        """False when another socket may do better."""
        try:
            if self._socket is None:
                self._socket = _connect(self._path)
            self._socket.send(data)
        except BlockingIOError:
            return True  # it does not keep up
        except OSError:
            return False
        return True

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        self._hang_up()
        super().close()
