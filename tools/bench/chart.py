"""The chart: a bar for each system and phase, written as SVG by hand."""

from __future__ import annotations

from html import escape
from pathlib import Path

from tools.bench.results import Report, Result
from tools.bench.systems import BASELINE, SYSTEMS
from tools.bench.table import group_by_phase

# Told apart by those who see few colours too (Okabe and Ito).
_COLOURS = {
    "bindfs": "#999999",
    "mergerfs": "#555555",
    "glusterfs": "#d55e00",
    "btrfs raid1": "#009e73",
    "rsync": "#e69f00",
    "twinfs sync": "#0072b2",
    "twinfs batched": "#56b4e9",
}
_OTHER_COLOUR = "#cc79a7"

_LABEL_WIDTH = 230
_UNIT_WIDTH = 440  # of a ratio of 1
_LARGEST_RATIO = 1.25
_RIGHT_WIDTH = 60
_HEAD_HEIGHT = 84
_BAR_HEIGHT = 11
_GAP_HEIGHT = 12
_WIDTH = _LABEL_WIDTH + int(_UNIT_WIDTH * _LARGEST_RATIO) + _RIGHT_WIDTH


def write_svg(report: Report, path: Path) -> None:
    path.write_text(draw(report))


def draw(report: Report) -> str:
    measured = {result.system for result in report.results}
    systems = [name for name in SYSTEMS if name in measured and name != BASELINE]
    rows = group_by_phase(report.results)
    row_height = len(systems) * _BAR_HEIGHT + _GAP_HEIGHT
    height = _HEAD_HEIGHT + len(rows) * row_height + _GAP_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        _text(12, 24, "Speed as a part of a plain directory's, measured in one run", size=16),
        *_legend(systems),
        *_grid(height),
    ]
    for number, row in enumerate(rows):
        parts += _row(row, systems, _HEAD_HEIGHT + number * row_height)
    return "\n".join([*parts, "</svg>", ""])


def _legend(systems: list[str]) -> list[str]:
    parts = []
    for number, name in enumerate(systems):
        x = 12 + number * 130
        parts.append(f'<rect x="{x}" y="38" width="11" height="11" fill="{_colour(name)}"/>')
        parts.append(_text(x + 17, 48, name))
    return parts


def _grid(height: int) -> list[str]:
    parts = []
    for quarter in range(5):
        ratio = quarter / 4
        x = _x(ratio)
        strength = 'stroke="#444" stroke-width="1.5"' if quarter == 4 else 'stroke="#ddd"'
        parts.append(
            f'<line x1="{x:.1f}" y1="{_HEAD_HEIGHT - 8}" x2="{x:.1f}" y2="{height - 8}" {strength}/>'
        )
        parts.append(
            _text(x, _HEAD_HEIGHT - 12, "plain = 1" if quarter == 4 else f"{ratio:g}", anchor="middle")
        )
    return parts


def _row(row: dict[str, Result], systems: list[str], top: int) -> list[str]:
    first = next(iter(row.values()))
    middle = top + len(systems) * _BAR_HEIGHT / 2 + 4
    parts = [_text(_LABEL_WIDTH - 8, middle, first.phase, anchor="end")]
    for number, name in enumerate(systems):
        result = row.get(name)
        if result is None or result.ratio is None:
            continue
        # A bar that would leave the chart is cut; its figure tells the rest.
        end, y = _x(min(result.ratio, _LARGEST_RATIO)), top + number * _BAR_HEIGHT
        parts.append(
            f'<rect x="{_LABEL_WIDTH}" y="{y}" width="{end - _LABEL_WIDTH:.1f}" '
            f'height="{_BAR_HEIGHT - 1}" fill="{_colour(name)}"/>'
        )
        parts.append(_text(end + 4, y + _BAR_HEIGHT - 2, f"{result.ratio:.2f}", size=10))
    return parts


def _x(ratio: float) -> float:
    return _LABEL_WIDTH + ratio * _UNIT_WIDTH


def _colour(system: str) -> str:
    return _COLOURS.get(system, _OTHER_COLOUR)


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
