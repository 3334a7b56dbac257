"""How far a capture is: a bar on a terminal, a line now and then elsewhere; drawn by a thread of its own."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from twinfs.report import human
from twinfs_capture.disk.settings import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_QUIET_SECONDS = 2.0
_DRAW_SECONDS = 0.5
_LINE_SECONDS = 10.0


class Display:
    """Asks `look` for the position while the work goes on, also while it hangs in a slow read."""

    def __init__(self, look: Callable[[], Progress], stream: TextIO | None = None) -> None:
        self._look = look
        self._stream = stream or sys.stderr
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._rate = Rate()
        self._bar: Bar | None = None

    def __enter__(self) -> Display:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._bar is not None:
            self._bar.stop()

    def _run(self) -> None:
        is_terminal = self._stream.isatty()
        begin = last_line = time.monotonic()
        while not self._over.wait(_DRAW_SECONDS):
            progress, now = self._look(), time.monotonic()
            rate = self._rate.update(progress, now)
            if is_terminal and now - begin >= _QUIET_SECONDS:
                self._draw(progress, rate)
            elif not is_terminal and now - last_line >= _LINE_SECONDS:
                last_line = now
                print(progress_line(progress, rate), file=self._stream, flush=True)

    def _draw(self, progress: Progress, rate: float) -> None:
        if self._bar is None:
            self._bar = _make_bar(self._stream)
        self._bar.update(
            self._bar.task_ids[0],
            total=progress.total_bytes or None,
            completed=progress.done_bytes,
            description=progress_line(progress, rate),
        )


class Rate:
    """Bytes a second over the last ten seconds or so, per step."""

    def __init__(self) -> None:
        self._step = ""
        self._marks: list[tuple[float, int]] = []

    def update(self, progress: Progress, now: float) -> float:
        if progress.step != self._step:
            self._step, self._marks = progress.step, []
        self._marks = [*self._marks[-19:], (now, progress.taken_bytes)]
        (then, before) = self._marks[0]
        return max(0, progress.taken_bytes - before) / (now - then) if now > then else 0.0


def progress_line(progress: Progress, rate: float) -> str:
    """For example "copying: 1.2 GiB of 40 GiB, 120 MiB/s, 5 min 31 s left, bad: 12 KiB in 3 areas"."""
    parts = [
        f"{human.size(progress.done_bytes)} of {human.size(progress.total_bytes)}",
        f"{human.size(rate)}/s",
    ]
    left_bytes = progress.total_bytes - progress.done_bytes
    if rate > 0 and left_bytes > 0:
        parts.append(f"{human.duration(left_bytes / rate)} left")
    if progress.bad_areas:
        parts.append(f"bad: {human.size(progress.bad_bytes)} in {human.count(progress.bad_areas, 'area')}")
    return f"{progress.step}: {', '.join(parts)}"


def _make_bar(stream: TextIO) -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        BarColumn(bar_width=20),
        TextColumn("{task.description}", markup=False),
        console=Console(file=stream),
        transient=True,
    )
    bar.add_task("", total=None)
    bar.start()
    return bar
