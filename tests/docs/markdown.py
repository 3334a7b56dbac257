"""Just enough of Markdown to hold a document to what it says."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INTERFACE = ROOT / "docs" / "interface.md"

_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def documents() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def links(path: Path) -> list[str]:
    return _LINK.findall(path.read_text())


def section(path: Path, heading: str) -> str:
    """The text under a heading, up to the next one of its level or above."""
    lines = path.read_text().splitlines()
    start = next(
        number for number, line in enumerate(lines) if line.strip("# ") == heading and line[:1] == "#"
    )
    level = len(lines[start]) - len(lines[start].lstrip("#"))
    end = start + 1
    while end < len(lines) and not re.match(rf"#{{1,{level}}} ", lines[end]):
        end += 1
    return "\n".join(lines[start + 1 : end])


def first_column(text: str, table: int = 0) -> list[list[str]]:
    """The code words in the first cell of each row of the n-th table of `text`."""
    return [_CODE.findall(cells[0]) for cells in rows(text, table)]


def rows(text: str, table: int = 0) -> list[list[str]]:
    """The cells of the n-th table of `text`, without its head. A bar in code is written `\\|`."""
    tables = re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    lines = tables[table].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
