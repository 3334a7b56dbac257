"""Where a reader gets its image from: a file that it opens, a connection or a directory that it is handed."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from twinfs.errors import ImageError
from twinfs.images.sources.nbd import Export
from twinfs.images.worker import process

_NICE: Final = 10

Started: TypeAlias = tuple[subprocess.Popen[bytes], socket.socket, tuple[object, ...]]
"""The reader, our end of its socket, and what it is to be asked first."""


class Source(Protocol):
    """What an image's reader is started from, as often as one is needed."""

    @property
    def path(self) -> str:
        """What messages call the image."""

    def start_reader(self) -> Started:
        """Raises ImageError."""


@dataclass(frozen=True, slots=True)
class Origin:
    path: str
    """Of the image; with `export`, what messages call it."""
    map_path: str | None = None
    """ddrescue's map of the disk."""
    export: Export | None = None

    def start_reader(self) -> Started:
        """Raises ImageError."""
        if self.export is None:
            map_path = self.map_path and os.path.abspath(self.map_path)
            return (*process.start(), ("open", os.path.abspath(self.path), map_path))
        # Each reader has a connection of its own: one that was replaced may have left half an answer in it.
        with self.export.connect() as handed:
            return (*process.start(handed.fileno()), ("open_export", handed.fileno(), self.export.name))


@dataclass(frozen=True, slots=True)
class Beneath:
    """A file in a directory that the reader is handed, for whoever reads for others: none but the file with
    this stamp."""

    path: str
    name: bytes
    stamp: tuple[int, ...]
    open_directory: Callable[[], int]
    """A new descriptor of it. Raises OSError."""

    def start_reader(self) -> Started:
        """Raises ImageError."""
        try:
            directory = self.open_directory()
        except OSError as error:
            raise ImageError(f"{self.path}: {error.strerror}") from None
        try:
            started, channel = process.start(directory)
        finally:
            os.close(directory)
        # Others are served by the process that starts it.
        os.setpriority(os.PRIO_PROCESS, started.pid, _NICE)
        return started, channel, ("open_beneath", directory, self.name, self.stamp)


def stamp_of(status: os.stat_result) -> tuple[int, ...]:
    """Tells a file from every other one, and from itself after a change."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
