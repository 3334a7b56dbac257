"""What can go wrong in a benchmark."""

from __future__ import annotations


class BenchError(Exception):
    """A measurement or its set-up failed; the message says what and, if known, why."""
