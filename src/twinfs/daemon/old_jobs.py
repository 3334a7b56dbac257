"""Jobs of before: an rsync that still mirrors into a leg.

With --delete it takes away what only that leg has: its label, and with it what is in quarantine and what
is kept of the past.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from typing import Final

_PLACES: Final = (
    "/etc/crontab",
    "/etc/anacrontab",
    "/etc/cron.d/*",
    "/etc/cron.*ly/*",
    "/var/spool/cron/*",
    "/var/spool/cron/crontabs/*",
    "/etc/systemd/system/*.service",
)
_MOST_BYTES: Final = 1 << 20
_ENDS: Final = ("|", "||", "&", "&&", ";")


@dataclass(frozen=True, slots=True)
class Job:
    """A line of a file that has rsync write below a directory."""

    file: str
    line: str


def jobs_into(directory: str, places: Sequence[str] = _PLACES) -> Iterator[Job]:
    """Those of them that can be read; `places` are patterns of files, see glob(7)."""
    for file in sorted({file for place in places for file in glob(place)}):
        for line in _lines(file):
            target = _target(line)
            if target is not None and _is_below(target, directory):
                yield Job(file, line)


def _lines(file: str) -> Iterator[str]:
    """Without comments. What ends with a backslash goes on in the next line."""
    try:
        with open(file, errors="replace") as text:
            content = text.read(_MOST_BYTES)
    except OSError:
        return  # a directory, or not ours to read
    for line in content.replace("\\\n", " ").splitlines():
        rest = line.strip()
        if rest and not rest.startswith("#") and "\0" not in rest:
            yield rest


def _target(line: str) -> str | None:
    """Where the line's rsync writes to: its last argument. None where it has none, or another host's."""
    words = line.replace(";", " ; ").split()
    begin = next((n for n, word in enumerate(words) if os.path.basename(word) == "rsync"), None)
    if begin is None:
        return None
    arguments: list[str] = []
    for word in words[begin + 1 :]:
        if word in _ENDS or word.lstrip("0123456789&").startswith((">", "<")):
            break
        if not word.startswith("-"):
            arguments.append(word.strip("\"'"))
    return arguments[-1] if len(arguments) > 1 and arguments[-1].startswith("/") else None


def _is_below(path: str, directory: str) -> bool:
    real, above = os.path.realpath(path), os.path.realpath(directory)
    return os.path.commonpath((real, above)) == above
