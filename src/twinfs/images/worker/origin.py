"""Where a reader gets its image from: a file that it opens, or a connection that it is handed."""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import dataclass

from twinfs.images.sources.nbd import Export
from twinfs.images.worker import process


@dataclass(frozen=True, slots=True)
class Origin:
    path: str
    """Of the image; with `export`, what messages call it."""
    map_path: str | None = None
    """ddrescue's map of the disk."""
    export: Export | None = None

    def start_reader(self) -> tuple[subprocess.Popen[bytes], socket.socket, tuple[object, ...]]:
        """The reader, our end of its socket, and what it is to be asked first. Raises ImageError."""
        if self.export is None:
            map_path = self.map_path and os.path.abspath(self.map_path)
            return (*process.start(), ("open", os.path.abspath(self.path), map_path))
        # Each reader has a connection of its own: one that was replaced may have left half an answer in it.
        with self.export.connect() as handed:
            return (*process.start(handed), ("open_export", handed.fileno(), self.export.name))
