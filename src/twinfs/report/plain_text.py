"""Text that any terminal, JSON reader and log can hold."""

from __future__ import annotations


def readable(text: str) -> str:
    """`text` with bytes that were no UTF-8 in a file's name written as escapes.

    Python carries such bytes as lone surrogates (os.fsdecode), which no JSON encoder accepts; an
    odd file name must not be able to silence the daemon.
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def readable_path(path: str) -> str:
    """The same for a file's name, which may also hold what a terminal would take for commands."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in readable(path)
    )
