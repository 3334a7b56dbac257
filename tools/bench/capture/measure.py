"""Runs a program to its end and takes its time, its processor time and its memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.bench.errors import BenchError

CAPTURE = Path(sys.executable).parent / "twinfs-capture"


@dataclass(frozen=True)
class Cost:
    """CPU time includes children that were waited for; the peak is the program's own."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def cost_of(
    words: Sequence[str | Path],
    *,
    codes: frozenset[int] = frozenset({0}),
    within: Callable[[], None] | None = None,
    cwd: Path | None = None,
) -> Cost:
    """`within` runs in the program's process before it starts. Raises BenchError for another exit code."""
    with tempfile.TemporaryFile() as errors:
        begin = time.perf_counter()
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            preexec_fn=within,
            cwd=cwd,
        )
        watched = _Watched(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        peak_bytes = watched.end()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in codes:
            errors.seek(0)
            message = errors.read().decode(errors="replace").strip()
            raise BenchError(f"{words[0]} ended with {process.returncode}: {message[-500:]}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, peak_bytes)


class _Watched:
    """A process's peak memory, looked at now and then: what wait4(2) tells begins with the parent's own."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._over = threading.Event()
        self._peak_bytes = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> int:
        self._over.set()
        self._thread.join()
        return self._peak_bytes

    def _run(self) -> None:
        while not self._over.wait(0.02):
            try:
                found = re.search(r"^VmHWM:\s+(\d+) kB$", self._status.read_text(), re.MULTILINE)
            except OSError:
                return
            if found is not None:
                self._peak_bytes = max(self._peak_bytes, int(found[1]) * 1024)
