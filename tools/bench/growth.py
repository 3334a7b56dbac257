"""How the cost grows with files: mounting, memory, walks, status, a resync after a few changes."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from tools.bench.errors import BenchError
from tools.bench.job import Job, Sizes
from tools.bench.mounts import run
from tools.bench.runner import started
from tools.bench.space import Place, fresh_place
from tools.bench.systems.twinfs import TwinfsSync
from tools.bench.worker import in_worker
from tools.bench.workloads.phase import Act, Phase
from tools.bench.workloads.walk import WORKLOAD as WALK

_PER_DIRECTORY = 1_000
_CONTENT = b"what a small file holds\n"
_MTIME_NS = 1_700_000_000_000_000_000
_CHANGES = (1, 10)

SMALLEST = 1_000


class Grown(msgspec.Struct, frozen=True):
    """Of one number of files. Times in seconds. `memory_bytes`: resident, when the kernel knew no file, and
    when it knew all; `plain_walk` is the same walk of the primary without twinfs. `resync`: `twinfs attach`
    of a leg that was away until it is up to date, by how many files had changed; `rsync`: `rsync -aHAXn`."""

    files: int
    mount: float
    memory_bytes: tuple[int, int]
    first_walk: float
    warm_walk: float
    plain_walk: float
    status: float
    resync: dict[str, float]
    rsync: float


def sizes_up_to(most_files: int) -> list[int]:
    """1,000, 10,000 and so on; BenchError below that."""
    if most_files < SMALLEST:
        raise BenchError(f"--files: at least {SMALLEST}")
    sizes = [SMALLEST]
    while sizes[-1] * 10 <= most_files:
        sizes.append(sizes[-1] * 10)
    return sizes if sizes[-1] == most_files else [*sizes, most_files]


def measure(
    scratch: Path, *, most_files: int, rounds: int, on_loops: bool, say: Callable[[str], None]
) -> list[Grown]:
    """Both legs hold the files before the volume is made, and are adopted. BenchError."""
    found = []
    for files in sizes_up_to(most_files):
        with fresh_place(scratch, on_loops=on_loops, keep_files=False) as place:
            _check_room(place, files)
            say(f"{files:,} files: making them on both legs")
            for leg in (place.primary, place.secondary):
                _fill(leg, files)
            found.append(_measure_one(place, files, rounds, say))
    return found


def _check_room(place: Place, files: int) -> None:
    for leg in {place.primary, place.secondary}:
        free = os.statvfs(leg).f_favail
        if free and free < files * 2:
            raise BenchError(f"{leg}: {free:,} inodes are free, too few for {files:,} files twice")


def _fill(leg: Path, files: int) -> None:
    """Files of a few bytes, 1,000 to a directory, with the same times on both legs."""
    for number in range(files):
        if number % _PER_DIRECTORY == 0:
            directory = leg / f"{number // _PER_DIRECTORY:05}"
            directory.mkdir()
            top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        fd = os.open(f"{number:07}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=top)
        os.write(fd, _CONTENT)
        os.utime(fd, ns=(_MTIME_NS, _MTIME_NS))
        os.close(fd)
        if number % _PER_DIRECTORY == _PER_DIRECTORY - 1 or number == files - 1:
            os.utime(top, ns=(_MTIME_NS, _MTIME_NS))
            os.close(top)


class _Adopting(TwinfsSync):
    """Both legs are filled already."""

    def _init(self) -> None:
        self._twinfs("init", self.place.primary, self.place.secondary, "--name", "bench", "--adopt")

    def command(self, *words: str) -> float:
        begin = time.perf_counter()
        self._twinfs(*words)
        return time.perf_counter() - begin


def _measure_one(place: Place, files: int, rounds: int, say: Callable[[str], None]) -> Grown:
    system = _Adopting(place)
    with started(system):
        say(f"{files:,} files: adopting them")
        system.command("sync", "bench")
    with started(system):
        # The first start was for the adoption; this one is a day like any other.
        system.stop()
        begin = time.perf_counter()
        system.start()
        mount = time.perf_counter() - begin
        say(f"{files:,} files: walking, asking, changing")
        few = _memory_bytes(system)
        first_walk = _walk(system.root)
        warm_walk = min(_walk(system.root) for _ in range(rounds))
        _walk(place.primary)
        plain_walk = min(_walk(place.primary) for _ in range(rounds))
        return Grown(
            files=files,
            mount=mount,
            memory_bytes=(few, _memory_bytes(system)),
            first_walk=first_walk,
            warm_walk=warm_walk,
            plain_walk=plain_walk,
            status=min(system.command("status", "bench") for _ in range(rounds)),
            resync={str(changes): _resync(system, changes, files) for changes in _CHANGES},
            rsync=_rsync(place),
        )


def _memory_bytes(system: _Adopting) -> int:
    """VmRSS, see proc_pid_status(5)."""
    text = Path(f"/proc/{system.daemon_pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB$", text, re.MULTILINE)
    if found is None:
        raise BenchError(f"/proc/{system.daemon_pid}/status tells no memory")
    return int(found[1]) * 1024


def _walk(directory: Path) -> float:
    walk: Callable[[Job], Act] = WALK.phase("walk, warm").prepare
    return in_worker(Phase("walk", "entries", walk), Job(str(directory), Sizes(), "", 0)).seconds


def _resync(system: _Adopting, changes: int, files: int) -> float:
    """The secondary is away while files change, all over the tree."""
    system.command("detach", "bench", "secondary")
    for number in range(0, files, files // changes):
        path = system.root / f"{number // _PER_DIRECTORY:05}" / f"{number:07}"
        path.write_bytes(b"changed while the secondary was away, with %d others\n" % (changes - 1))
    taken = system.command("attach", "bench", "secondary")
    _check_equal(system.place, files, changes)
    return taken


def _check_equal(place: Place, files: int, changes: int) -> None:
    """A resync that brings nothing is a fast one."""
    for number in range(0, files, files // changes):
        name = f"{number // _PER_DIRECTORY:05}/{number:07}"
        if (place.primary / name).read_bytes() != (place.secondary / name).read_bytes():
            raise BenchError(f"{name} differs on the legs after a resync")


def _rsync(place: Place) -> float:
    begin = time.perf_counter()
    run("rsync", "-aHAXn", "--exclude=/.twinfs", f"{place.primary}/", f"{place.secondary}/")
    return time.perf_counter() - begin


def lines(found: list[Grown]) -> dict[str, list[tuple[float, float]]]:
    """For a chart: seconds by number of files."""
    columns: dict[str, Callable[[Grown], float]] = {
        "mount": lambda each: each.mount,
        "first walk": lambda each: each.first_walk,
        "warm walk": lambda each: each.warm_walk,
        "status": lambda each: each.status,
        "resync, 1 changed": lambda each: each.resync["1"],
        "resync, 10 changed": lambda each: each.resync["10"],
        "rsync -aHAXn": lambda each: each.rsync,
    }
    return {name: [(float(each.files), value(each)) for each in found] for name, value in columns.items()}


def print_measured(found: list[Grown], console: Console) -> None:
    table = Table(
        title="How the cost grows with files", caption="times in seconds; memory in MB, no file known and all"
    )
    for name in ("files", "mount", "memory", "first walk", "warm walk", "plain's", "status"):
        table.add_column(name, justify="right")
    for changes in _CHANGES:
        table.add_column(f"resync, {changes} changed", justify="right")
    table.add_column("rsync -aHAXn", justify="right")
    for each in found:
        few, all_of_them = (bytes_ / 1e6 for bytes_ in each.memory_bytes)
        table.add_row(
            f"{each.files:,}",
            f"{each.mount:.2f}",
            f"{few:.0f}, {all_of_them:.0f}",
            *(f"{value:.3f}" for value in (each.first_walk, each.warm_walk, each.plain_walk)),
            f"{each.status:.2f}",
            *(f"{value:.2f}" for value in each.resync.values()),
            f"{each.rsync:.2f}",
        )
    console.print(table)
