"""The command line: which workloads, on which systems, where, and what becomes of the figures."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import msgspec
from rich.console import Console
from tools.bench import curves, file_sizes, growth, reading, scrubbing
from tools.bench.capture.cli import measure
from tools.bench.chart import write_svg
from tools.bench.errors import BenchError
from tools.bench.job import FULL, QUICK
from tools.bench.mounts import IS_ROOT, can_drop_caches
from tools.bench.results import Machine, Report, Settings, summarise, summarise_memory, write_json
from tools.bench.runner import Runner
from tools.bench.space import scratch_space
from tools.bench.systems import BASELINE, SYSTEMS
from tools.bench.systems.twinfs import INTERVAL
from tools.bench.table import print_report
from tools.bench.tree_tar import make_tree_tar
from tools.bench.workloads import WORKLOADS


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Compare the speed of twinfs with a plain directory, bindfs, mergerfs, GlusterFS, "
        "btrfs raid1 and rsync, in one run; what is not installed is left out, and named. "
        "The full run takes long, and some 10 GB below --dir.",
        epilog="For example: make bench BENCH_ARGS='--quick --only tree'. For twinfs-capture: bench capture",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run: a fiftieth of the sizes, one round"
    )
    parser.add_argument("--rounds", type=int, help="how often, for the median (3; with --quick 1)")
    parser.add_argument(
        "--only", action="append", choices=list(WORKLOADS), help="this workload; may be repeated"
    )
    parser.add_argument(
        "--system",
        action="append",
        choices=list(SYSTEMS),
        help=f"this system, and {BASELINE} to compare with; may be repeated",
    )
    parser.add_argument(
        "--dir", type=Path, default=Path(tempfile.gettempdir()), help="where the legs are made"
    )
    parser.add_argument(
        "--loop", action="store_true", help="make each leg an ext4 file system on a loop device (needs root)"
    )
    parser.add_argument(
        "--scrub", action="store_true", help="compare a scrub with cat and rsync -c, in place of all this"
    )
    parser.add_argument(
        "--reads", action="store_true", help="compare reads of two throttled disks (needs root), likewise"
    )
    parser.add_argument(
        "--growth", action="store_true", help="how the cost grows with files and with their size, likewise"
    )
    parser.add_argument(
        "--files", type=int, help="with --growth: up to so many (100000; 1000000 takes half an hour)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("bench-results"), help="where bench.json and bench.svg go"
    )
    arguments = parser.parse_args(words)
    if arguments.rounds is None:
        arguments.rounds = 1 if arguments.quick else 3
    if arguments.files is None:
        arguments.files = growth.SMALLEST if arguments.quick else 100_000
    if arguments.rounds < 1:
        parser.error("--rounds: at least 1")
    if (arguments.loop or arguments.reads) and not IS_ROOT:
        parser.error("--loop and --reads need root, for loop devices and mounts")
    return arguments


def main(words: list[str]) -> int:
    if words[:1] == ["capture"]:
        return _guarded(lambda talk: measure(words[1:], talk))
    arguments = _parse(words)
    return _guarded(lambda talk: _measure_in(arguments, talk))


def _guarded(work: Callable[[Console], int]) -> int:
    """Ends in order, with a message, whatever ends it."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end_by_signal)
    talk = Console(stderr=True, highlight=False)
    try:
        return work(talk)
    except (BenchError, OSError) as error:
        talk.print(f"bench failed: {error}", markup=False)
        return 1
    except KeyboardInterrupt:
        talk.print("bench interrupted; no mount, process or scratch file was left behind")
        return 130


def _measure_in(arguments: argparse.Namespace, talk: Console) -> int:
    with scratch_space(arguments.dir) as scratch:
        if arguments.scrub:
            return _measure_scrub(arguments, scratch, talk)
        if arguments.reads:
            return _measure_reads(arguments, scratch, talk)
        if arguments.growth:
            return _measure_growth(arguments, scratch, talk)
        return _measure(arguments, scratch, talk)


def _end_by_signal(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _measure(arguments: argparse.Namespace, scratch: Path, talk: Console) -> int:
    sizes = QUICK if arguments.quick else FULL
    started = _now()
    names = arguments.only or list(WORKLOADS)
    workloads = [workload for name, workload in WORKLOADS.items() if name in names]
    wanted = {BASELINE, *(arguments.system or SYSTEMS)}
    systems = [system for name, system in SYSTEMS.items() if name in wanted]
    tar = scratch / "tree.tar"
    tree_files = make_tree_tar(tar, sizes.tree_files) if "tree" in names else 0
    runner = Runner(
        scratch=scratch,
        sizes=sizes,
        on_loops=arguments.loop,
        keep_files=arguments.quick and not arguments.loop,
        tree_tar=tar,
        tree_files=tree_files,
        say=lambda text: talk.print(text, markup=False),
    )
    if not arguments.quick and not arguments.loop:
        runner.say(
            "note: ext4 creates files slowly where many were deleted; --loop keeps that out of the figures"
        )
    settings = Settings(
        rounds=arguments.rounds,
        is_quick=arguments.quick,
        legs_on_loops=arguments.loop,
        drops_caches=can_drop_caches(),
        batch_interval=INTERVAL,
        tree_files=tree_files,
        sizes=sizes,
    )
    is_complete = False
    try:
        runner.run(workloads, systems, arguments.rounds)
        is_complete = True
    finally:
        # What was measured before an interruption is worth having.
        _write(_report(runner, settings, started, is_complete=is_complete), arguments.out)
    # A system that is not installed here is no failure of the run.
    return 1 if any(trouble.workload != "all" for trouble in runner.troubles) else 0


def _measure_scrub(arguments: argparse.Namespace, scratch: Path, talk: Console) -> int:
    found = scrubbing.measure(
        scratch,
        load=scrubbing.QUICK if arguments.quick else scrubbing.FULL,
        rounds=arguments.rounds,
        on_loops=arguments.loop,
        say=lambda text: talk.print(text, markup=False),
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "scrub.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))
    scrubbing.print_measured(found, Console(width=110))
    return 0


def _measure_reads(arguments: argparse.Namespace, scratch: Path, talk: Console) -> int:
    found = reading.measure(
        scratch,
        load=reading.QUICK if arguments.quick else reading.FULL,
        rounds=arguments.rounds,
        say=lambda text: talk.print(text, markup=False),
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "reads.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))
    reading.print_measured(found, Console(width=140))
    return 0


def _measure_growth(arguments: argparse.Namespace, scratch: Path, talk: Console) -> int:
    def say(text: str) -> None:
        talk.print(text, markup=False)

    rounds, on_loops = arguments.rounds, arguments.loop
    grown = growth.measure(scratch, most_files=arguments.files, rounds=rounds, on_loops=on_loops, say=say)
    largest = file_sizes.SIZES[1 if arguments.quick else -1]
    sized = file_sizes.measure(scratch, largest=largest, rounds=rounds, on_loops=on_loops, say=say)
    arguments.out.mkdir(parents=True, exist_ok=True)
    found = {"files": grown, "sizes": sized}
    (arguments.out / "growth.json").write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))
    (arguments.out / "growth.svg").write_text(
        curves.draw("How the cost grows with files", "files", "seconds", growth.lines(grown))
    )
    console = Console(width=140)
    growth.print_measured(grown, console)
    file_sizes.print_measured(sized, console)
    return 0


def _report(runner: Runner, settings: Settings, started: str, *, is_complete: bool) -> Report:
    return Report(
        started=started,
        finished=_now(),
        is_complete=is_complete,
        machine=Machine.here(),
        settings=settings,
        results=summarise(runner.samples),
        memory=summarise_memory(runner.memory),
        troubles=runner.troubles,
    )


def _write(report: Report, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_json(report, out / "bench.json")
    write_svg(report, out / "bench.svg")
    console = Console()
    # Wide enough for the table, also in a file.
    print_report(report, console if console.is_terminal else Console(width=110))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
