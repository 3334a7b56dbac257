"""A mail about one event or several: plain text that says what happened and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from twinfs.model import Notice, Severity
from twinfs.report import human
from twinfs.report.event_text import event_line
from twinfs.report.plain_text import readable

_MAX_SUBJECT_CHARACTERS = 120


def subject(notices: Sequence[Notice], host: str) -> str:
    """One line without control characters, whatever the messages hold. `notices` is not empty."""
    loudest = max(notices, key=_urgency)
    text = f"twinfs: {loudest.event.volume} on {host}: {loudest.event.kind.replace('_', ' ')}"
    if len(notices) > 1:
        text += f", {human.count(len(notices) - 1, 'more event')}"
    return _printable(text)[:_MAX_SUBJECT_CHARACTERS]


def body(notices: Sequence[Notice], host: str) -> str:
    """Several short paragraphs with a final newline. Oldest event first; the state is the last one's."""
    last = notices[-1]
    state = f", {last.state} now" if last.state is not None else ""
    lines = [
        f"Volume {last.event.volume} on {host}{state}.",
        "",
        "What happened:",
        *(f"  {_printable(event_line(notice.event))}" for notice in notices),
        "",
        "What to do next:",
        f"  {_printable(last.action or 'nothing that twinfs knows of')}",
        "",
        f"How it is now:  twinfs status {last.event.volume}",
        f"All events:     twinfs events {last.event.volume}",
    ]
    return "\n".join(lines) + "\n"


def _urgency(notice: Notice) -> tuple[int, float]:
    """The loudest, and of several as loud the newest."""
    return list(Severity).index(notice.severity), notice.event.time


def _printable(line: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in readable(line))
