"""How a settings file says who is to be told of events: a program, mail addresses, a metrics file."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

from twinfs.errors import UsageError

# What may stand on sendmail's command line and in a header: no option, no list, no second header.
_ADDRESS = re.compile(r"[^\s,;<>()\x00-\x1f\x7f-][^\s,;<>()\x00-\x1f\x7f]*")


def parse_command(value: str | Sequence[str]) -> tuple[str, ...]:
    """`on_event`: one text in a shell's notation, or a list of words. No shell runs it. Raises UsageError."""
    if isinstance(value, str):
        try:
            words = shlex.split(value)
        except ValueError as error:
            raise UsageError(f"field 'on_event': {value!r}: {error}") from None
        if not words:
            raise UsageError("field 'on_event' names no program; leave the line out to run none")
    else:
        words = list(value)
    if words and not words[0]:
        raise UsageError("field 'on_event': the program's name is empty")
    if words and "/" in words[0] and not words[0].startswith("/"):
        raise UsageError(f"field 'on_event': {words[0]!r} is relative; give the program's absolute path")
    if any("\0" in word for word in words):
        raise UsageError("field 'on_event': a program's argument cannot hold a NUL character")
    return tuple(words)


def parse_addresses(value: str | Sequence[str]) -> tuple[str, ...]:
    """`mail_to`: addresses with commas between them, or a list. Raises UsageError."""
    found = value.split(",") if isinstance(value, str) else value
    addresses = tuple(address.strip() for address in found)
    for address in addresses:
        if _ADDRESS.fullmatch(address) is None:
            raise UsageError(
                f"field 'mail_to': {address!r} is not a mail address such as root or me@example.org"
            )
    return addresses


def require_outside(metrics_file: str | None, place: str | None) -> None:
    """A metrics file in the volume would be a change a minute, each to be mirrored. Raises UsageError."""
    if metrics_file is None or place is None:
        return
    if os.path.normpath(metrics_file).startswith(os.path.normpath(place).rstrip("/") + "/"):
        raise UsageError(
            f"field 'metrics_file': {metrics_file!r} lies inside {place}, which the volume mirrors;"
            " give a path outside"
        )
