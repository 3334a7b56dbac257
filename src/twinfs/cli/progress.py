"""How far a long operation is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from twinfs.model import Progress
from twinfs.report.progress_text import progress_line

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_QUIET_SECONDS = 2.0
_LINE_SECONDS = 10.0


class ProgressDisplay:
    """Call it with positions; quiet for the first two seconds, for most operations are over by then."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._started = time.monotonic()
        self._last_line = self._started
        self._latest: Progress | None = None
        self._bar: Bar | None = None

    def __enter__(self) -> ProgressDisplay:
        return self

    def __call__(self, progress: Progress) -> None:
        self._latest = progress
        now = time.monotonic()
        if not self._stream.isatty():
            if now - self._last_line >= _LINE_SECONDS:
                self._last_line = now
                self._print_line()
        elif now - self._started >= _QUIET_SECONDS:
            self._draw()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave one line behind if anything was shown, so that a terminal's history tells what was done."""
        if self._bar is not None:
            self._bar.stop()
        if self._bar is not None or self._last_line != self._started:
            self._print_line()

    def _print_line(self) -> None:
        if self._latest is not None:
            elapsed_seconds = time.monotonic() - self._started
            print(progress_line(self._latest, elapsed_seconds), file=self._stream, flush=True)

    def _draw(self) -> None:
        if self._latest is None:
            return
        if self._bar is None:
            self._bar = _make_bar(self._stream)
        latest = self._latest
        by_bytes = latest.bytes_total > 0
        total = latest.bytes_total if by_bytes else latest.files_total
        self._bar.update(
            self._bar.task_ids[0],
            total=total or None,
            completed=latest.bytes_done if by_bytes else latest.files_done,
            description=progress_line(latest, time.monotonic() - self._started),
        )


def _make_bar(stream: TextIO) -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        BarColumn(bar_width=20),
        # markup off: a step or path with brackets is no style.
        TextColumn("{task.description}", markup=False),
        console=Console(file=stream),
        transient=True,
    )
    bar.add_task("", total=None)
    bar.start()
    return bar
