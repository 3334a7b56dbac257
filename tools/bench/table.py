"""The table of ratios."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from tools.bench.results import Report, Result
from tools.bench.systems import BASELINE, SYSTEMS

MEMORY_HOLD_BYTES = 120 * 1000 * 1000


def print_report(report: Report, console: Console) -> None:
    if report.results:
        console.print(_ratios(report))
    for sample in report.memory:
        is_ours = sample.system.startswith("twinfs")
        note = " [red](held to 120 MB)[/]" if is_ours and sample.peak_bytes >= MEMORY_HOLD_BYTES else ""
        megabytes = sample.peak_bytes / 1e6
        console.print(f"peak memory, {sample.files:,} files known: {sample.system} {megabytes:.1f} MB{note}")
    for trouble in report.troubles:
        console.print(f"{trouble.workload} on {trouble.system}: ", trouble.message, markup=False)


def _ratios(report: Report) -> Table:
    measured = {result.system for result in report.results}
    others = [name for name in SYSTEMS if name in measured and name != BASELINE]
    table = Table(
        title=f"Rates as parts of the plain directory's, in one run{_size_note(report)}",
        caption="*: below what twinfs is held to. drain: `twinfs sync` after it (batched), not in the ratio",
    )
    table.add_column("phase", no_wrap=True)
    table.add_column(BASELINE, justify="right", no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    table.add_column("drain", justify="right")
    workload = report.results[0].workload
    for row in group_by_phase(report.results):
        first = next(iter(row.values()))
        if first.workload != workload:
            table.add_section()
            workload = first.workload
        table.add_row(
            first.phase, _rate(row.get(BASELINE)), *(_ratio(row.get(name)) for name in others), _drain(row)
        )
    return table


def group_by_phase(results: list[Result]) -> list[dict[str, Result]]:
    """One dictionary a phase, from the system's name to its result, in the order of measuring."""
    rows: dict[tuple[str, str], dict[str, Result]] = {}
    for result in results:
        rows.setdefault((result.workload, result.phase), {})[result.system] = result
    return list(rows.values())


def _size_note(report: Report) -> str:
    return " (a smoke run: mostly noise)" if report.settings.is_quick else ""


def _rate(result: Result | None) -> str:
    return "" if result is None else f"{result.rate_per_second:,.0f} {result.unit}/s"


def _ratio(result: Result | None) -> str:
    if result is None or result.ratio is None:
        return ""
    text = f"{result.ratio:.2f}" if result.ratio >= 0.095 else f"{result.ratio:.3f}"
    return f"[red]{text}*[/]" if result.is_below_hold else text


def _drain(row: dict[str, Result]) -> str:
    batched = row.get("twinfs batched")
    return "" if batched is None or batched.drain_seconds is None else f"{batched.drain_seconds:.1f} s"
