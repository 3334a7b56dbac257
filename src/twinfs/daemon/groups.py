"""One failure out of trio's groups of them: a person is told one thing to mend at a time."""

from __future__ import annotations


def first_cause(error: Exception) -> Exception:
    """The first failure inside nested exception groups: later ones are mostly its consequences."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
