"""The command line of `python tools/bench capture`."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from tools.bench.capture.copying import from_slow_disk, in_memory
from tools.bench.capture.failing import with_bad_sectors
from tools.bench.capture.recording import of_a_screen
from tools.bench.capture.results import Report, Sample, summarise, write
from tools.bench.errors import BenchError
from tools.bench.results import Machine
from tools.bench.space import scratch_space

_MIB = 1 << 20
CASES = ("memory", "disk", "bad", "screen")


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench capture",
        description="Compare twinfs-capture with dd and GNU ddrescue, and its codecs with each other.",
        epilog="For example: make bench BENCH_ARGS='capture --only memory'",
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run: small sizes, one round")
    parser.add_argument("--rounds", type=int, help="how often, for the median (3; with --quick 1)")
    parser.add_argument("--only", action="append", choices=CASES, help="this case; may be repeated")
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()), help="for scratch files")
    parser.add_argument("--out", type=Path, default=Path("bench-results"), help="where capture.json goes")
    arguments = parser.parse_args(words)
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    if arguments.rounds < 1:
        parser.error("--rounds: at least 1")
    return arguments


def measure(words: list[str], talk: Console) -> int:
    """Measures, prints, writes; 1 where something that is there could not be measured."""
    arguments = parse(words)
    samples: list[Sample] = []
    troubles: list[str] = []
    try:
        with scratch_space(arguments.dir) as scratch:
            for _ in range(arguments.rounds):
                for case in arguments.only or CASES:
                    try:
                        # One by one: what was measured before a failure is kept.
                        samples.extend(
                            _samples(
                                case, scratch, arguments.quick, lambda text: talk.print(text, markup=False)
                            )
                        )
                    except BenchError as error:
                        troubles.append(f"{case}: {error}")
    finally:
        write(
            Report(Machine.here(), arguments.quick, summarise(samples), sorted(set(troubles))), arguments.out
        )
    return 0


def _samples(case: str, scratch: Path, is_quick: bool, say: Callable[[str], None]) -> Iterator[Sample]:
    match case:
        case "memory":
            return in_memory((64 if is_quick else 2048) * _MIB, say)
        case "disk":
            return from_slow_disk((64 if is_quick else 4096) * _MIB, say)
        case "bad":
            return with_bad_sectors(scratch, (2 if is_quick else 32) * _MIB, say)
    return of_a_screen(scratch, 1.0 if is_quick else 10.0, say)
