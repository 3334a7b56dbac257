"""A scrub as a page of HTML that stands alone: no script, no picture, nothing from the network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import Final

from twinfs.model import Mismatch, ScrubRun
from twinfs.report import human
from twinfs.report.plain_text import readable

_WIDTH: Final = 720
_HEIGHT: Final = 180
_BASE: Final = 150
_TOP: Final = 20

_STYLE: Final = """
:root { color-scheme: light dark; --good: #2a7d4f; --mended: #b7791f; --bad: #c0392b; --line: #8886; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 760px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.4em; } h2 { font-size: 1.1em; margin-top: 2em; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .3em .6em .3em 0;
 border-bottom: 1px solid var(--line); vertical-align: top; } td.n, th.n { text-align: right; }
code { overflow-wrap: anywhere; } .good { color: var(--good); } .mended { color: var(--mended); }
.bad { color: var(--bad); } svg text { font-size: 11px; fill: currentColor; }
svg rect.good { fill: var(--good); } svg rect.mended { fill: var(--mended); }
svg rect.bad { fill: var(--bad); }
"""


def scrub_html(volume: str, runs: Sequence[ScrubRun], findings: Sequence[Mismatch]) -> str:
    """`runs`: the finished ones, oldest first, one at least; `findings` are those of the last."""
    last = runs[-1]
    title = escape(f"Scrub of {volume}, {_day(last.finished)}")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>\n'
        f"<h1>{title}</h1>\n{_verdict(last)}\n{_figures(last)}\n"
        f"<h2>Past scrubs</h2>\n{_chart(runs)}\n{_history(runs)}\n"
        f"{_findings(last, findings)}</body></html>\n"
    )


def _class(run: ScrubRun) -> str:
    if not run.mismatches:
        return "good"
    return "mended" if run.repaired == run.mismatches else "bad"


def _verdict(run: ScrubRun) -> str:
    text = "Both legs are equal."
    if run.mismatches:
        left = run.mismatches - run.repaired
        text = f"{run.mismatches} mismatched, {run.repaired} repaired, {left} left."
    return f'<p class="{_class(run)}"><strong>{text}</strong></p>'


def _figures(run: ScrubRun) -> str:
    rows = [
        ("Plan", run.plan),
        ("Objects compared", str(run.files)),
        ("Read from each disk", human.size(run.bytes)),
        ("Took", human.duration(run.seconds)),
        ("Being written all the while", str(run.busy)),
        ("How the disks were read", f"primary {run.read[0]}, secondary {run.read[1]}"),
    ]
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"


def _chart(runs: Sequence[ScrubRun]) -> str:
    """A bar a scrub: how high is how much was read, its colour what was found."""
    most = max(max(run.bytes for run in runs), 1)
    step = _WIDTH / max(len(runs), 12)
    bars = []
    for index, run in enumerate(runs):
        height = max(2.0, (_BASE - _TOP) * run.bytes / most)
        found = f"{run.mismatches} mismatched, {run.repaired} repaired"
        told = f"{_day(run.finished)}: {human.size(run.bytes)}, {found}"
        bars.append(
            f'<rect class="{_class(run)}" x="{index * step + 1:.1f}" y="{_BASE - height:.1f}"'
            f' width="{step - 2:.1f}" height="{height:.1f}"><title>{escape(told)}</title></rect>'
        )
        if run.mismatches:
            bars.append(
                f'<text x="{(index + 0.5) * step:.1f}" y="{_BASE - height - 4:.1f}" text-anchor="middle">'
                f"{run.mismatches}</text>"
            )
    ends = f'<text x="0" y="{_BASE + 16}">{_day(runs[0].finished)}</text>'
    if len(runs) > 1:
        x = len(runs) * step
        ends += f'<text x="{x:.1f}" y="{_BASE + 16}" text-anchor="end">{_day(runs[-1].finished)}</text>'
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" width="100%"'
        ' aria-label="Bytes read by past scrubs">'
        f'<line x1="0" y1="{_BASE}" x2="{_WIDTH}" y2="{_BASE}" stroke="currentColor" stroke-opacity=".4"/>'
        f"{''.join(bars)}{ends}</svg>"
    )


def _history(runs: Sequence[ScrubRun]) -> str:
    rows = "".join(
        f"<tr><td>{_day(run.finished)}</td><td>{escape(run.plan)}</td>"
        f"<td class=n>{human.size(run.bytes)}</td><td class=n>{human.duration(run.seconds)}</td>"
        f"<td class=n>{run.mismatches}</td>"
        f"<td class=n>{run.repaired}</td></tr>"
        for run in reversed(runs)
    )
    return (
        "<table><tr><th>When</th><th>Plan</th><th class=n>Read</th><th class=n>Took</th>"
        f"<th class=n>Mismatched</th><th class=n>Repaired</th></tr>{rows}</table>"
    )


def _findings(run: ScrubRun, findings: Sequence[Mismatch]) -> str:
    if not findings:
        return ""
    rows = "".join(
        f"<tr><td><code>{escape(readable(found.path) or '.')}</code></td><td>{found.kind}</td>"
        f"<td>{found.bad_leg}</td><td>{'yes' if found.repaired else 'no'}</td>"
        f"<td>{escape(readable(found.detail))}</td></tr>"
        for found in findings
    )
    more = run.mismatches - len(findings)
    tail = f"<p>And {more} more.</p>" if more > 0 else ""
    return (
        "<h2>Mismatches</h2>\n<table><tr><th>Path</th><th>Kind</th><th>Bad leg</th><th>Repaired</th>"
        f"<th>What</th></tr>{rows}</table>{tail}\n"
    )


def _day(seconds_since_epoch: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds_since_epoch))
