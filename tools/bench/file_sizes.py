"""How speed grows with the size of files: written, and read again, from 4 KiB to 1 GiB."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from tools.bench.job import KIB, MIB, Job, Sizes
from tools.bench.runner import started
from tools.bench.space import fresh_place
from tools.bench.systems import BASELINE, SYSTEMS
from tools.bench.worker import in_worker
from tools.bench.workloads.phase import Act, Phase

SIZES = (4 * KIB, 64 * KIB, MIB, 16 * MIB, 256 * MIB, 1024 * MIB)
_SYSTEMS = (BASELINE, "twinfs sync", "twinfs batched")
_CALL_BYTES = MIB
_MOST_FILES = 500
_ENOUGH_BYTES = 256 * MIB


class Sized(msgspec.Struct, frozen=True):
    """Medians over the rounds, in bytes a second, of files of one size; ratios to a plain directory's."""

    size: int
    system: str
    write_rate: float
    read_rate: float
    write_ratio: float
    read_ratio: float


def count_of(size: int) -> int:
    """How many files of that size make a measurement."""
    return max(1, min(_MOST_FILES, _ENOUGH_BYTES // size))


def measure(
    scratch: Path, *, largest: int, rounds: int, on_loops: bool, say: Callable[[str], None]
) -> list[Sized]:
    seconds: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for size in (each for each in SIZES if each <= largest):
        for number in range(rounds):
            for name in _SYSTEMS:
                say(f"[{number + 1}/{rounds}] files of {size // KIB} KiB: {name}")
                with (
                    fresh_place(scratch, on_loops=on_loops, keep_files=False) as place,
                    started(SYSTEMS[name](place)) as system,
                ):
                    job = Job(str(system.root), Sizes(), "", 0)
                    os.sync()
                    write = in_worker(Phase("write", "files", partial(_write, size)), job).seconds
                    system.settle()
                    read = in_worker(Phase("read", "files", partial(_read, size), is_warm=True), job).seconds
                    seconds.setdefault((size, name), []).append((write, read))
    return [_summary(size, name, seconds) for size, name in seconds]


def _summary(size: int, name: str, seconds: dict[tuple[int, str], list[tuple[float, float]]]) -> Sized:
    write, read, plain_write, plain_read = (
        statistics.median(each[which] for each in seconds[size, system])
        for system in (name, BASELINE)
        for which in (0, 1)
    )
    total = count_of(size) * size
    return Sized(size, name, total / write, total / read, plain_write / write, plain_read / read)


def _paths(job: Job, size: int) -> list[str]:
    return [f"{job.directory}/{number:04}" for number in range(count_of(size))]


def _write(size: int, job: Job) -> Act:
    paths, piece = _paths(job, size), os.urandom(min(size, _CALL_BYTES))

    def act() -> int:
        for path in paths:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            for _ in range(size // len(piece)):
                os.write(fd, piece)
            os.close(fd)
        return len(paths)

    return act


def _read(size: int, job: Job) -> Act:
    paths, buffer = _paths(job, size), bytearray(min(size, _CALL_BYTES))

    def act() -> int:
        for path in paths:
            fd = os.open(path, os.O_RDONLY)
            while os.readv(fd, [buffer]):
                pass
            os.close(fd)
        return len(paths)

    return act


def print_measured(found: list[Sized], console: Console) -> None:
    table = Table(title="Speed by size of file", caption="MB/s; in brackets the part of a plain directory's")
    for name in ("size", "system", "write, close", "read again"):
        table.add_column(name, justify="right")
    for each in found:
        table.add_row(
            f"{each.size // KIB:,} KiB",
            each.system,
            f"{each.write_rate / 1e6:,.0f} ({each.write_ratio:.2f})",
            f"{each.read_rate / 1e6:,.0f} ({each.read_ratio:.2f})",
        )
    console.print(table)
