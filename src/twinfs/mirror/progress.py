"""How far a long piece of work is, and who wants to know."""

from __future__ import annotations

import os
from collections.abc import Callable

from twinfs.model import Progress

OnProgress = Callable[[Progress], None]


class Meter:
    """Counts files and bytes of one piece of work; threads may count bytes."""

    def __init__(self, on_progress: OnProgress | None = None) -> None:
        self._on_progress = on_progress
        self.step = ""
        self.files_done = 0
        self.files_total = 0
        self.bytes_done = 0
        self.bytes_total = 0

    def count_bytes(self, size: int) -> None:
        self.bytes_done += size

    def report(self, path: bytes) -> None:
        if self._on_progress is not None:
            self._on_progress(
                Progress(
                    self.step,
                    self.files_done,
                    self.files_total,
                    self.bytes_done,
                    self.bytes_total,
                    os.fsdecode(path),
                )
            )
