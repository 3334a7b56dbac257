"""An event as one line for people."""

from __future__ import annotations

import time

from twinfs.model import Event


def event_line(event: Event) -> str:
    """Local time with date, kind, message; a message of several lines becomes one."""
    message = " ".join(line.strip() for line in event.message.splitlines())
    then = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    return f"{then}  {event.kind:<14} {message}"
