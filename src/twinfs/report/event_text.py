"""An event, or what became of one, as lines for people."""

from __future__ import annotations

import time

from twinfs.model import ChannelTest, Event


def event_line(event: Event) -> str:
    """Local time with date, kind, message; a message of several lines becomes one."""
    message = " ".join(line.strip() for line in event.message.splitlines())
    then = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
    return f"{then}  {event.kind:<14} {message}"


def channel_line(channel: ChannelTest) -> str:
    """Verdict, channel, what happened; further lines of the message are indented."""
    first, *more = channel.message.splitlines() or [""]
    head = f"{channel.verdict:<7} {channel.channel:<8} {first}"
    return "\n".join([head, *(f"{'':17}{line}" for line in more)])
