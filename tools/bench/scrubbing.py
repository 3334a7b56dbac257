"""How fast a full scrub reads both disks, beside `cat` of both legs at once and `rsync -c`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from tools.bench.errors import BenchError
from tools.bench.job import MIB
from tools.bench.mounts import run
from tools.bench.space import Place, fresh_place

_TWINFS = Path(sys.executable).parent / "twinfs"
_VOLUME = "bench"
_SMALL_SIZES = (500, 3_000, 8_000, 40_000)
_PER_DIRECTORY = 500
HOLD_RATIO = 0.8


class Load(msgspec.Struct, frozen=True):
    """What is read: small files of 500 B to 40 kB, and large ones."""

    small_files: int
    large_files: int
    large_bytes: int


FULL = Load(20_000, 16, 256 * MIB)
QUICK = Load(400, 2, 8 * MIB)


class Measured(msgspec.Struct, frozen=True):
    """Medians over the rounds. `ratio`: the rate as a part of what `cat` reached in the same run."""

    what: str
    seconds: float
    rounds_seconds: list[float]
    bytes_per_second: float
    ratio: float
    peak_bytes: int


def measure(
    scratch: Path, *, load: Load, rounds: int, on_loops: bool, say: Callable[[str], None]
) -> list[Measured]:
    """Each round runs all three, with cold caches: a machine that slows down slows all of them."""
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, int] = {}
    with fresh_place(scratch, on_loops=on_loops, keep_files=False) as place:
        size = _fill(place, load)
        env = _init(place)
        for number in range(1, rounds + 1):
            for what, words in _contenders(place).items():
                say(f"[{number}/{rounds}] {what}")
                _drop(place)
                taken, peak = _timed(words, env)
                seconds.setdefault(what, []).append(taken)
                peaks[what] = max(peaks.get(what, 0), peak)
    medians = {what: statistics.median(each) for what, each in seconds.items()}
    first = next(iter(medians.values()))
    return [
        Measured(what, median, seconds[what], size / median, first / median, peaks[what])
        for what, median in medians.items()
    ]


def _contenders(place: Place) -> dict[str, list[str]]:
    first, second = str(place.primary), str(place.secondary)
    cat = 'for leg; do find "$leg" -type f -print0 | xargs -0 cat >/dev/null & done; wait'
    rsync = ["rsync", "-aHAXnc", "--delete", "--exclude=/.twinfs", f"{first}/", f"{second}/"]
    return {
        "cat of both legs": ["sh", "-c", cat, "sh", first, second],
        "twinfs scrub": [str(_TWINFS), "scrub", _VOLUME],
        "rsync -aHAXnc --delete": rsync,
    }


def _fill(place: Place, load: Load) -> int:
    """The same files on both legs; returns the bytes on one."""
    size = 0
    for path, length in _files(load):
        target = place.primary / path
        target.parent.mkdir(exist_ok=True)
        with target.open("wb") as file:
            for start in range(0, length, MIB):
                file.write(os.urandom(min(MIB, length - start)))
        size += length
    run("cp", "-a", f"{place.primary}/.", place.secondary)
    return size


def _files(load: Load) -> Iterator[tuple[str, int]]:
    for number in range(load.small_files):
        yield f"d{number // _PER_DIRECTORY:03}/{number:06}", _SMALL_SIZES[number % len(_SMALL_SIZES)]
    for number in range(load.large_files):
        yield f"large/{number}", load.large_bytes


def _init(place: Place) -> dict[str, str]:
    env = {f"TWINFS_{what.upper()}_DIR": str(place.state / what) for what in ("config", "state", "run")}
    run(_TWINFS, "init", place.primary, place.secondary, "--name", _VOLUME, "--adopt", env=env)
    return env


def _drop(place: Place) -> None:
    """What is read comes from the disk for all of them. Not all caches of the machine: only these files'."""
    for leg in (place.primary, place.secondary):
        for path in leg.rglob("*"):
            if path.is_file():
                fd = os.open(path, os.O_RDONLY)
                os.fdatasync(fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)


def _timed(words: list[str], env: dict[str, str]) -> tuple[float, int]:
    """(seconds, the largest resident size of the command or what it started, in bytes)."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        words,
        env={**os.environ, "LC_ALL": "C", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise BenchError(f"{words[0]} ended with {process.returncode}")
    return seconds, usage.ru_maxrss * 1024


def print_measured(found: list[Measured], console: Console) -> None:
    table = Table(title="A full scrub, and others who read both legs", caption=f"held to {HOLD_RATIO} of cat")
    for heading in ("", "seconds", "MB/s of each leg", "part of cat's", "peak memory"):
        table.add_column(heading, justify="right" if heading else "left")
    for each in found:
        cells = f"{each.seconds:.1f}", f"{each.bytes_per_second / 1e6:.0f}", f"{each.ratio:.2f}"
        table.add_row(each.what, *cells, f"{each.peak_bytes / 1e6:.0f} MB")
    console.print(table)
