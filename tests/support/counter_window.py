"""A known, changing picture: a frame counter drawn large, to be captured and compared pixel by pixel.

Run as a program, `counter_window.py DISPLAY WIDTHxHEIGHT+X+Y SECONDS`, it is shown until it is killed. The
counter goes up every SECONDS. Each picture is drawn aside and shown in one request: none is seen half.
"""

from __future__ import annotations

import sys
import time
from functools import cache

TITLE = "twinfs counter"
DIGITS = 5
BORDER, PAPER, INK, DESKTOP = (255, 0, 255), (250, 240, 10), (5, 30, 160), (40, 130, 70)

# Seven segments of a digit, in a cell of 1 x 1: (x, y, width, height).
_SEGMENTS = (
    (0.2, 0.1, 0.6, 0.1),
    (0.1, 0.1, 0.15, 0.4),
    (0.75, 0.1, 0.15, 0.4),
    (0.2, 0.45, 0.6, 0.1),
    (0.1, 0.5, 0.15, 0.4),
    (0.75, 0.5, 0.15, 0.4),
    (0.2, 0.8, 0.6, 0.1),
)
_LIT = (
    "1110111",
    "0010010",
    "1011101",
    "1011011",
    "0111010",
    "1101011",
    "1101111",
    "1010010",
    "1111111",
    "1111011",
)

Rectangle = tuple[int, int, int, int]


def rectangles(number: int, width: int, height: int) -> list[Rectangle]:
    """The lit segments of a number, in pixels."""
    cell = width / DIGITS
    found = []
    for place, digit in enumerate(f"{number:0{DIGITS}}"):
        for lit, (x, y, w, h) in zip(_LIT[int(digit)], _SEGMENTS, strict=True):
            if lit == "1":
                found.append(
                    (round((place + x) * cell), round(y * height), round(w * cell), round(h * height))
                )
    return found


@cache
def picture(number: int, width: int, height: int) -> bytes:
    """The window with that number as rows of RGB: its border one pixel wide, its digits."""
    rows = [bytearray(bytes(PAPER) * width) for _ in range(height)]
    for x, y, w, h in rectangles(number, width, height):
        for row in rows[y : y + h]:
            row[x * 3 : (x + w) * 3] = bytes(INK) * w
    for row in rows:
        row[:3] = row[-3:] = bytes(BORDER)
    rows[0] = rows[-1] = bytearray(bytes(BORDER) * width)
    return b"".join(rows)


def read_number(pixels: bytes, width: int, height: int) -> int:
    """The number in a picture of the whole window, also one whose colours are not quite as they were."""
    cell, number = width / DIGITS, 0
    for place in range(DIGITS):
        lit = ""
        for x, y, w, h in _SEGMENTS:
            column, row = round((place + x + w / 2) * cell), round((y + h / 2) * height)
            red, _, blue = pixels[(row * width + column) * 3 : (row * width + column) * 3 + 3]
            lit += "1" if blue > red else "0"
        assert lit in _LIT, f"no digit: {lit}"
        number = number * 10 + _LIT.index(lit)
    return number


def _show(display_name: str, geometry: str, seconds: float) -> None:
    from Xlib import Xatom, display

    size, x, y = geometry.split("+")
    width, height = map(int, size.split("x"))
    shown = display.Display(display_name)
    screen = shown.screen()
    shade = {colour: _pixel(colour) for colour in (BORDER, PAPER, INK, DESKTOP)}
    screen.root.change_attributes(background_pixel=shade[DESKTOP])
    screen.root.clear_area()
    window = screen.root.create_window(int(x), int(y), width, height, 0, screen.root_depth)
    window.change_property(shown.get_atom("WM_NAME"), Xatom.STRING, 8, TITLE.encode())
    window.map()
    aside = window.create_pixmap(width, height, screen.root_depth)
    pen = aside.create_gc()
    start = time.monotonic()
    number = 0
    while True:
        pen.change(foreground=shade[BORDER])
        aside.fill_rectangle(pen, 0, 0, width, height)
        pen.change(foreground=shade[PAPER])
        aside.fill_rectangle(pen, 1, 1, width - 2, height - 2)
        pen.change(foreground=shade[INK])
        aside.poly_fill_rectangle(pen, rectangles(number, width, height))
        window.copy_area(pen, aside, 0, 0, width, height, 0, 0)
        # A round trip: what is said to be shown is shown.
        shown.sync()
        if number == 0:
            print("shown", flush=True)
        number += 1
        time.sleep(max(0.0, start + number * seconds - time.monotonic()))
        while shown.pending_events():
            shown.next_event()


def _pixel(colour: tuple[int, int, int]) -> int:
    red, green, blue = colour
    return red << 16 | green << 8 | blue


if __name__ == "__main__":
    _show(sys.argv[1], sys.argv[2], float(sys.argv[3]))
