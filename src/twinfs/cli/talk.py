"""Results go to stdout, talk to stderr, so that results can be piped."""

from __future__ import annotations

import sys

from twinfs.report.plain_text import readable


def say(text: str) -> None:
    print(readable(text), file=sys.stderr, flush=True)


def result(text: str) -> None:
    """Flushed: `events --follow` into a pipe must not wait for a full buffer."""
    print(readable(text), flush=True)
