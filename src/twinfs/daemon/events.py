"""What happened to a volume, one JSON line each, readable when the daemon is gone.

Written to a file and not kept in the daemon, because the event worth reading is often the last
one before it died.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path

import msgspec

from twinfs.model import Event
from twinfs.report.plain_text import readable

_MAX_BYTES = 1 << 20
_KEPT_FILES = 2
_POLL_SECONDS = 0.2


class EventLog:
    """Append, read and follow. At 1 MiB the file becomes `.1`, then `.2`, then is gone."""

    def __init__(self, path: Path, volume: str, *, max_bytes: int = _MAX_BYTES) -> None:
        self._path = path
        self._volume = volume
        self._max_bytes = max_bytes

    def append(self, kind: str, message: str) -> None:
        """Add one event of now. Raises OSError."""
        self.add(new_event(self._volume, kind, message))

    def add(self, event: Event) -> None:
        """Add one event, in a single write so that a follower never mixes two lines. Raises OSError."""
        self._rotate_when_full()
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, msgspec.json.encode(event) + b"\n")
        finally:
            os.close(fd)

    def read(self) -> Iterator[Event]:
        """Everything that is kept, newest last."""
        yield from self._read_rotated()
        yield from _read_events(self._path)

    def follow(self, sleep: Callable[[float], None] = time.sleep) -> Iterator[Event]:
        """Everything that is kept, then what comes, without end; rotation loses none."""
        yield from self._read_rotated()
        while True:
            try:
                file = self._path.open("rb")
            except FileNotFoundError:
                sleep(_POLL_SECONDS)
                continue
            with file:
                yield from _complete_events(file)
                while self._is_current(file):
                    sleep(_POLL_SECONDS)
                    yield from _complete_events(file)
                # Lines that were added between the last read and the rename.
                yield from _complete_events(file)

    def _read_rotated(self) -> Iterator[Event]:
        for number in range(_KEPT_FILES, 0, -1):
            yield from _read_events(self._rotated(number))

    def _rotated(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _rotate_when_full(self) -> None:
        try:
            if self._path.stat().st_size < self._max_bytes:
                return
        except FileNotFoundError:
            return
        for number in range(_KEPT_FILES - 1, 0, -1):
            if self._rotated(number).exists():
                self._rotated(number).replace(self._rotated(number + 1))
        self._path.replace(self._rotated(1))

    def _is_current(self, file: BufferedReader) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), os.stat(self._path))
        except FileNotFoundError:
            return False


def new_event(volume: str, kind: str, message: str) -> Event:
    """Of now, its message such that any log can hold it."""
    return Event(time=time.time(), volume=volume, kind=kind, message=readable(message))


def _read_events(path: Path) -> Iterator[Event]:
    try:
        with path.open("rb") as file:
            yield from _complete_events(file)
    except FileNotFoundError:
        return


def _complete_events(file: BufferedReader) -> Iterator[Event]:
    """Events from the current position; stops before a line that is still being written.

    A line that is not an event (torn by a power cut) is passed over: it must not hide the rest.
    """
    while True:
        start = file.tell()
        line = file.readline()
        if not line.endswith(b"\n"):
            file.seek(start)
            return
        try:
            yield msgspec.json.decode(line, type=Event)
        except msgspec.DecodeError:
            continue
