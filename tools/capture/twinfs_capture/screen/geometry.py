"""Which part of the screen: X's own notation, see "GEOMETRY SPECIFICATIONS" in X(7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from twinfs.errors import UsageError

_GEOMETRY: Final = re.compile(r"(\d{1,5})x(\d{1,5})(?:([+-])(\d{1,5})([+-])(\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Area:
    """Pixels; x and y are of the upper left corner, from the screen's upper left corner."""

    width: int
    height: int
    x: int = 0
    y: int = 0

    def __str__(self) -> str:
        return f"{self.width}x{self.height}+{self.x}+{self.y}"


def parse(text: str, screen: Area) -> Area:
    """1024x768+0+0; -X and -Y count from the right and the bottom. Raises UsageError."""
    found = _GEOMETRY.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"--geometry {text}: must be WIDTHxHEIGHT or WIDTHxHEIGHT+X+Y, such as 1024x768+0+0")
    width, height = int(found[1]), int(found[2])
    x, y = int(found[4] or 0), int(found[6] or 0)
    if found[3] == "-":
        x = screen.width - width - x
    if found[5] == "-":
        y = screen.height - height - y
    area = Area(width, height, x, y)
    is_inside = x >= 0 and y >= 0 and x + width <= screen.width and y + height <= screen.height
    if not width or not height or not is_inside:
        raise UsageError(f"--geometry {text}: is not within the screen, {screen.width}x{screen.height}")
    return area
