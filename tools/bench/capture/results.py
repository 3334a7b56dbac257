"""What was measured of captures, as a table and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from tools.bench.results import Machine


class Sample(msgspec.Struct, frozen=True):
    """One program, once. `ratio_to` names the program of the same case whose time counts as 1."""

    case: str
    program: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    ratio_to: str
    hold: float | None = None
    """At most this many times the other's time."""
    note: str = ""


class Line(msgspec.Struct, frozen=True):
    """Medians over the rounds. `best_ratio`: of the quickest rounds, what a busy machine disturbs least."""

    case: str
    program: str
    seconds: float
    rounds_seconds: list[float]
    cpu_seconds: float
    peak_bytes: int
    ratio: float
    best_ratio: float
    hold: float | None
    note: str


class Report(msgspec.Struct, frozen=True, tag="capture-bench"):
    machine: Machine
    is_quick: bool
    lines: list[Line]
    troubles: list[str]


def summarise(samples: Iterable[Sample]) -> list[Line]:
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.case, sample.program), []).append(sample)
    return [_line(group, groups.get((group[0].case, group[0].ratio_to), group)) for group in groups.values()]


def _line(group: list[Sample], others: list[Sample]) -> Line:
    seconds = [sample.seconds for sample in group]
    other_seconds = [sample.seconds for sample in others]
    first = group[0]
    return Line(
        case=first.case,
        program=first.program,
        seconds=statistics.median(seconds),
        rounds_seconds=seconds,
        cpu_seconds=statistics.median(sample.cpu_seconds for sample in group),
        peak_bytes=max(sample.peak_bytes for sample in group),
        ratio=statistics.median(seconds) / statistics.median(other_seconds),
        best_ratio=min(seconds) / min(other_seconds),
        hold=first.hold,
        note=group[-1].note,
    )


def write(report: Report, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "capture.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    console = Console()
    wide = console if console.is_terminal else Console(width=110)
    wide.print(_table(report))
    for trouble in report.troubles:
        wide.print(f"not measured: {trouble}", markup=False)


def _table(report: Report) -> Table:
    table = Table(
        title="captures" + (" (a smoke run: mostly noise)" if report.is_quick else ""),
        caption="ratio: time as a multiple of the first program's; *: above what it is held to;"
        " of a screen: CPU time and bytes a frame",
    )
    for name in ("case", "program"):
        table.add_column(name, no_wrap=True)
    for name in ("s", "CPU s", "MiB", "ratio", "best"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    case = ""
    for line in report.lines:
        if line.case != case and case:
            table.add_section()
        is_above = line.hold is not None and line.ratio > line.hold
        ratio = f"[red]{line.ratio:.2f}*[/]" if is_above else f"{line.ratio:.2f}"
        table.add_row(
            "" if line.case == case else line.case,
            line.program,
            f"{line.seconds:.2f}",
            f"{line.cpu_seconds:.2f}",
            f"{line.peak_bytes / (1 << 20):.0f}",
            ratio,
            f"{line.best_ratio:.2f}",
            line.note,
        )
        case = line.case
    return table
