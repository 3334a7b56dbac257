"""Reads from two disks at once: each read policy beside one disk alone, and btrfs raid1, all under the same
throttles, with cold caches."""

from __future__ import annotations

import contextlib
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tools.bench.mounts import run, uninterrupted, unmount
from tools.bench.space import Place
from tools.bench.systems.mounted import Mounted
from tools.bench.throttled import Speed, loop_device, mounted, throttle

MIB = 1 << 20
READERS = 8
_TWINFS = Path(sys.executable).parent / "twinfs"
_VOLUME = "bench"
_BLOCK_BYTES = 4096
_END_SECONDS = 20
_FILE = "data"


@dataclass(frozen=True)
class Load:
    """`random_reads` in all, of all readers."""

    sequential_bytes: int
    file_bytes: int
    random_reads: int
    bytes_per_second: int
    requests_per_second: int


FULL = Load(160 * MIB, 256 * MIB, 600, 50_000_000, 100)
QUICK = Load(4 * MIB, 8 * MIB, 40, 50_000_000, 100)


@dataclass(frozen=True)
class Read:
    """`ratio` is the rate as a part of the fast disk's alone; `low` and `high` of it, over all rounds."""

    case: str
    system: str
    seconds: float
    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class _Case:
    name: str
    speeds: tuple[Speed, Speed]
    is_random: bool


def _cases(load: Load) -> list[_Case]:
    fast, slow = load.bytes_per_second, load.bytes_per_second // 5
    seeks, few = load.requests_per_second, load.requests_per_second // 5
    return [
        _Case("one sequential reader", (Speed(fast), Speed(fast)), False),
        _Case("8 random readers", (Speed(fast, seeks), Speed(fast, seeks)), True),
        _Case("sequential, secondary 5 times slower", (Speed(fast), Speed(slow)), False),
        _Case("random, secondary 5 times slower", (Speed(fast, seeks), Speed(slow, few)), True),
    ]


def measure(scratch: Path, *, load: Load, rounds: int, say: Callable[[str], None]) -> list[Read]:
    """Root only: loop devices, mounts, and a control group. BenchError."""
    size_bytes = load.file_bytes + 256 * MIB
    with contextlib.ExitStack() as stack:
        devices = [stack.enter_context(loop_device(scratch / f"leg{n}.img", size_bytes)) for n in (0, 1)]
        pool = [stack.enter_context(loop_device(scratch / f"raid{n}.img", size_bytes)) for n in (0, 1)]
        legs = [stack.enter_context(_ext4(device, scratch / f"leg{n}")) for n, device in enumerate(devices)]
        raid = stack.enter_context(_raid1(pool, scratch / "raid"))
        _fill([*legs, raid], load.file_bytes)
        group = stack.enter_context(throttle())
        found = []
        for case in _cases(load):
            for device, speed in zip((*devices, *pool), case.speeds * 2, strict=True):
                group.limit(device, speed)
            found += _measure_case(case, scratch, legs, raid, load, rounds, say)
        for device in (*devices, *pool):
            group.limit(device, Speed())
    return found


def _measure_case(
    case: _Case,
    scratch: Path,
    legs: Sequence[Path],
    raid: Path,
    load: Load,
    rounds: int,
    say: Callable[[str], None],
) -> list[Read]:
    """Round by round, so that what else the machine does meets all of them."""
    seconds: dict[str, list[float]] = {}
    for number in range(rounds):
        for system, place in _systems(scratch, legs, raid):
            with place as directory:
                taken = _random(directory, load, number) if case.is_random else _sequential(directory, load)
            seconds.setdefault(system, []).append(taken)
            say(f"[{number + 1}/{rounds}] {case.name}, {system}: {taken:.2f} s")
            _forget([*legs, raid])
    base = seconds["one disk"]
    return [
        Read(case.name, system, statistics.median(all_of_it), statistics.median(each), min(each), max(each))
        for system, all_of_it in seconds.items()
        for each in [[one / other for one, other in zip(base, all_of_it, strict=True)]]
    ]


def _systems(
    scratch: Path, legs: Sequence[Path], raid: Path
) -> Iterator[tuple[str, contextlib.AbstractContextManager[Path]]]:
    yield "one disk", contextlib.nullcontext(legs[0])
    for policy in ("primary", "balance", "stripe"):
        yield f"twinfs {policy}", _volume(scratch, legs, policy)
    yield "btrfs raid1", contextlib.nullcontext(raid)


def _sequential(directory: Path, load: Load) -> float:
    begin = time.perf_counter()
    left = load.sequential_bytes
    with open(directory / _FILE, "rb", buffering=0) as file:
        while left > 0 and (data := file.read(MIB)):
            left -= len(data)
    return time.perf_counter() - begin


def _random(directory: Path, load: Load, seed: int) -> float:
    """Single blocks at random places, none of them twice."""
    places = random.Random(seed).sample(range(load.file_bytes // _BLOCK_BYTES), load.random_reads)

    def reader(mine: list[int]) -> None:
        fd = os.open(directory / _FILE, os.O_RDONLY)
        try:
            for place in mine:
                os.pread(fd, _BLOCK_BYTES, place * _BLOCK_BYTES)
        finally:
            os.close(fd)

    begin = time.perf_counter()
    with ThreadPoolExecutor(READERS) as pool:
        for done in [pool.submit(reader, places[number::READERS]) for number in range(READERS)]:
            done.result()
    return time.perf_counter() - begin


@contextlib.contextmanager
def _ext4(device: str, directory: Path) -> Iterator[Path]:
    run("mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0", device)
    with mounted(device, directory) as disk:
        (disk / "leg").mkdir()
        yield disk / "leg"


@contextlib.contextmanager
def _raid1(devices: Sequence[str], directory: Path) -> Iterator[Path]:
    run("mkfs.btrfs", "-q", "-f", "-d", "raid1", "-m", "raid1", *devices)
    # One that was mounted a moment ago is not known under its new identity.
    run("btrfs", "device", "scan", *devices)
    with mounted(devices[0], directory, "-o", f"device={devices[1]}") as disk:
        yield disk


class _Volume(Mounted):
    """Over both legs, with a read policy."""

    def start(self) -> None:
        self.serve(_TWINFS, "mount", _VOLUME, self.place.mountpoint, "--foreground", env=_env(self.place))

    def stop(self) -> None:
        """Not waited for without end: who has made a mount namespace meanwhile still has the mount in it."""
        unmount(self.place.mountpoint)
        if self._server is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(_END_SECONDS)
        self.abandon()


def _env(place: Place) -> dict[str, str]:
    return {f"TWINFS_{what.upper()}_DIR": str(place.state / what) for what in ("config", "state", "run")}


@contextlib.contextmanager
def _volume(scratch: Path, legs: Sequence[Path], policy: str) -> Iterator[Path]:
    """Mounted anew: the kernel knows nothing of its files."""
    place = Place(scratch, legs[0], legs[1], scratch / "mnt", scratch / "state")
    env = _env(place)
    place.mountpoint.mkdir(exist_ok=True)
    if not place.state.exists():
        run(_TWINFS, "init", *legs, "--name", _VOLUME, "--adopt", env=env)
        run(_TWINFS, "sync", _VOLUME, env=env)
    settings = next((place.state / "config").rglob(f"{_VOLUME}.toml"))
    lines = [line for line in settings.read_text().splitlines() if not line.startswith("read_policy")]
    settings.write_text(f'read_policy = "{policy}"\n' + "\n".join(lines) + "\n")
    system = _Volume(place)
    try:
        system.start()
        run(_TWINFS, "sync", _VOLUME, env=env)
        _forget([*legs])
        yield place.mountpoint
    finally:
        with uninterrupted():
            system.stop()


def _fill(places: Sequence[Path], size_bytes: int) -> None:
    for _ in range(0, size_bytes, MIB):
        data = os.urandom(MIB)
        for place in places:
            with open(place / _FILE, "ab") as file:
                file.write(data)
    for place in places:
        os.utime(place / _FILE, ns=(0, 0))
    _forget(places)


def _forget(places: Sequence[Path]) -> None:
    """What is read comes from the devices. Not all caches of the machine: only these files'."""
    for place in places:
        fd = os.open(place / _FILE, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def print_measured(found: list[Read], console: Console) -> None:
    systems = list(dict.fromkeys(each.system for each in found))
    table = Table(title="Rates as parts of the fast disk's alone", caption="median (lowest to highest round)")
    table.add_column("")
    for system in systems:
        table.add_column(system, justify="right")
    for case in dict.fromkeys(each.case for each in found):
        row = {each.system: each for each in found if each.case == case}
        cells = (f"{row[name].ratio:.2f} ({row[name].low:.2f}-{row[name].high:.2f})" for name in systems)
        table.add_row(case, *cells)
    console.print(table)
