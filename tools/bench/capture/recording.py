"""A screen of 1024x768 at 10 and 30 frames a second: frames dropped, and processor time a frame."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.bench.capture.measure import cost_of
from tools.bench.capture.results import Sample
from tools.bench.errors import BenchError

_CHECKOUT = Path(__file__).resolve().parents[3]
_WINDOW = _CHECKOUT / "tests" / "support" / "counter_window.py"
_SIZE = "1024x768"
KINDS = ("raw", "lossless", "x264", "png-9")


def of_a_screen(scratch: Path, seconds: float, say: Callable[[str], None]) -> Iterator[Sample]:
    """Raises BenchError where there is no Xvfb."""
    if shutil.which("Xvfb") is None:
        raise BenchError("Xvfb is not installed, so there is no screen to record")
    with _screen() as display:
        for fps in (10, 30):
            case = f"screen, {fps} fps, {seconds:g} s"
            for kind in KINDS:
                say(f"{case}: {kind}")
                base = scratch / "recording"
                base.mkdir()
                words = [sys.executable, "-m", "tools.bench.capture.record_worker"]
                words += [display, str(fps), str(seconds), kind, str(base)]
                cost = cost_of(words, cwd=_CHECKOUT)
                found = json.loads((base / "result.json").read_text())
                frames = max(1, found["frames"])
                note = (
                    f"{found['dropped']}/{found['frames'] + found['dropped']} dropped,"
                    f" {found['cpu_seconds'] * 1000 / frames:.0f} ms,"
                    f" {found['bytes'] / frames / 1024:.0f} KiB"
                )
                yield Sample(case, kind, cost.seconds, cost.cpu_seconds, cost.peak_bytes, KINDS[0], note=note)
                shutil.rmtree(base)


@contextlib.contextmanager
def _screen() -> Iterator[str]:
    """An X server of its own that shows a counter, large, forty times a second."""
    read_end, write_end = os.pipe()
    words = ["-screen", "0", f"{_SIZE}x24", "-nolisten", "tcp", "-displayfd", str(write_end)]
    server = subprocess.Popen(
        ["Xvfb", *words],
        pass_fds=(write_end,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    window = None
    try:
        with os.fdopen(read_end) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise BenchError("Xvfb did not start")
        shown = [sys.executable, str(_WINDOW), f":{number}", f"{_SIZE}+0+0", "0.025"]
        window = subprocess.Popen(shown, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert window.stdout is not None
        window.stdout.readline()
        yield f":{number}"
    finally:
        for process in (window, server):
            if process is not None:
                process.terminate()
                process.communicate()
