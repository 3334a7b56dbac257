"""A source with 1% bad sectors, read by us and by GNU ddrescue; the tests' own failing disk plays it."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.bench.capture.copying import make_source
from tools.bench.capture.measure import CAPTURE, cost_of
from tools.bench.capture.results import Sample
from tools.bench.errors import BenchError

_PROGRAM = Path(__file__).resolve().parents[3] / "tests" / "support" / "failing_disk.py"
_SECTOR_BYTES = 512
_CLUSTER_SECTORS = 64
_BAD_PART = 100


def with_bad_sectors(scratch: Path, size_bytes: int, say: Callable[[str], None]) -> Iterator[Sample]:
    """Bad sectors far and wide, and in clusters. Raises BenchError where ddrescue is missing."""
    if shutil.which("ddrescue") is None:
        raise BenchError("ddrescue is not installed (gddrescue), so there is nothing to compare with")
    generator = random.Random(1)
    sectors = size_bytes // _SECTOR_BYTES
    scattered = sorted(generator.sample(range(sectors), sectors // _BAD_PART))
    starts = generator.sample(
        range(0, sectors - _CLUSTER_SECTORS, _CLUSTER_SECTORS),
        max(1, sectors // _BAD_PART // _CLUSTER_SECTORS),
    )
    clusters = sorted(start + number for start in starts for number in range(_CLUSTER_SECTORS))
    for name, bad in {"scattered": scattered, "in clusters": clusters}.items():
        case = f"1% bad, {name}, {size_bytes >> 20} MiB"
        with _failing_disk(scratch, size_bytes, bad) as (disk, log, base):
            yield from _both(case, disk, log, base, say)


def _both(case: str, disk: Path, log: Path, base: Path, say: Callable[[str], None]) -> Iterator[Sample]:
    ours, theirs = base / "ours", base / "theirs"
    programs: dict[str, tuple[tuple[str | Path, ...], float | None]] = {
        "ddrescue": (("ddrescue", "-b512", "-r1", disk, theirs, base / "theirs.map"), None),
        "twinfs-capture": ((CAPTURE, "disk", disk, ours, "--retries", "1"), 1.0),
    }
    for name, (words, hold) in programs.items():
        say(f"{case}: {name}")
        with log.open("r+b") as file:
            file.truncate(0)
        cost = cost_of(words, codes=frozenset({0, 1}))
        note = f"{log.stat().st_size // 16} reads"
        yield Sample(case, name, cost.seconds, cost.cpu_seconds, cost.peak_bytes, "ddrescue", hold, note)
    if ours.read_bytes()[: theirs.stat().st_size] != theirs.read_bytes():
        raise BenchError(f"{case}: the two images differ")


@contextlib.contextmanager
def _failing_disk(scratch: Path, size_bytes: int, bad: list[int]) -> Iterator[tuple[Path, Path, Path]]:
    base = scratch / "failing"
    mountpoint, backing, plan, log = (base / name for name in ("mnt", "backing", "plan", "log"))
    mountpoint.mkdir(parents=True)
    make_source(backing, size_bytes)
    plan.write_text(json.dumps({"bad": [(n * _SECTOR_BYTES, (n + 1) * _SECTOR_BYTES) for n in bad]}))
    log.touch()
    process = subprocess.Popen([sys.executable, _PROGRAM, mountpoint, backing, plan, log])
    try:
        deadline = time.monotonic() + 20
        while not (mountpoint / "disk").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError("the failing disk did not start")
            time.sleep(0.01)
        yield mountpoint / "disk", log, base
    finally:
        subprocess.run(["fusermount3", "-u", "-z", mountpoint], check=False)
        process.wait(20)
        shutil.rmtree(base)
