"""The X display: is there one, how large is it, which window is meant."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from twinfs.cli.talk import say
from twinfs.errors import UsageError
from twinfs_capture.errors import CaptureError
from twinfs_capture.screen.geometry import Area

# python-xlib has no types.
_Untyped: TypeAlias = Any

_INSTEAD = (
    "  on Wayland, only the compositor shows the screen to other programs: use wf-recorder (wlroots),\n"
    "  or your desktop's own recorder (GNOME, KDE: they use the portal, xdg-desktop-portal)"
)


def display_name(wanted: str | None, environment: Mapping[str, str]) -> str:
    """The X display to capture. Raises CaptureError where there is none."""
    name = wanted or environment.get("DISPLAY")
    is_wayland = bool(environment.get("WAYLAND_DISPLAY")) or environment.get("XDG_SESSION_TYPE") == "wayland"
    if name:
        if is_wayland and wanted is None:
            say(
                "note: this is a Wayland session; only windows of X programs (XWayland) are seen\n" + _INSTEAD
            )
        return name
    if is_wayland:
        raise CaptureError(
            "there is no X display: this is a Wayland session, which cannot be captured\n" + _INSTEAD
        )
    raise CaptureError("there is no X display: DISPLAY is not set\n  name one with --display, such as :0")


class Screen:
    """A connection to the X server, for questions only; the pictures come through ffmpeg's own."""

    def __init__(self, display: _Untyped, name: str) -> None:
        self.name = name
        self._display = display
        self._root = display.screen().root
        size = self._root.get_geometry()
        self.area = Area(size.width, size.height)

    def window_titled(self, title: str) -> tuple[int, Area]:
        """The id and place of the visible window whose title has `title` in it. Raises UsageError."""
        found = [window for window in self._windows(self._root, 0) if title.lower() in _title(window).lower()]
        exact = [window for window in found if _title(window) == title]
        if not found:
            names = sorted({_title(window) for window in self._windows(self._root, 0)} - {""})
            raise UsageError(
                f"--window {title}: no window has that in its title; there are: {', '.join(names)}"
            )
        if len(found) > 1 and len(exact) != 1:
            names = sorted(_title(window) for window in found)
            raise UsageError(
                f"--window {title}: several windows have that in their title: {', '.join(names)}"
            )
        return self._place(exact[0] if len(exact) == 1 else found[0])

    def window_picked(self) -> tuple[int, Area]:
        """The window that the user clicks on. Raises CaptureError where the pointer cannot be taken."""
        from Xlib import X

        font = self._display.open_font("cursor")
        # 34 is the crosshair in the cursor font; its mask is the next glyph. X11/cursorfont.h
        cursor = font.create_glyph_cursor(font, 34, 35, (0, 0, 0), (0xFFFF, 0xFFFF, 0xFFFF))
        status = self._root.grab_pointer(
            False, X.ButtonPressMask, X.GrabModeSync, X.GrabModeAsync, X.NONE, cursor, X.CurrentTime
        )
        if status != X.GrabSuccess:
            raise CaptureError(
                "the pointer is held by another program; close its menu, or use --window TITLE"
            )
        say("click on the window to capture")
        try:
            self._display.allow_events(X.SyncPointer, X.CurrentTime)
            event = self._display.next_event()
            while event.type != X.ButtonPress:
                event = self._display.next_event()
        finally:
            self._display.ungrab_pointer(X.CurrentTime)
            self._display.flush()
        return self._place(event.child if event.child != X.NONE else self._root)

    def _windows(self, window: _Untyped, depth: int) -> Iterator[_Untyped]:
        from Xlib import X
        from Xlib.error import XError

        try:
            children = window.query_tree().children
        except XError:
            return  # closed meanwhile
        for child in children:
            try:
                is_visible = child.get_attributes().map_state == X.IsViewable
            except XError:
                continue
            if is_visible:
                yield child
                if depth < 8:
                    yield from self._windows(child, depth + 1)

    def _place(self, window: _Untyped) -> tuple[int, Area]:
        """As much of the window as is on the screen."""
        size = window.get_geometry()
        corner = window.translate_coords(self._root, 0, 0)
        # translate_coords answers where the root's origin is, as seen from the window.
        x, y = -corner.x, -corner.y
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + size.width, self.area.width), min(y + size.height, self.area.height)
        if right <= left or bottom <= top:
            raise UsageError("--window: no part of that window is on the screen")
        return window.id, Area(right - left, bottom - top, left, top)


def _title(window: _Untyped) -> str:
    from Xlib.error import XError

    try:
        atom = window.display.get_atom
        named = window.get_full_property(atom("_NET_WM_NAME"), atom("UTF8_STRING"))
        if named is not None:
            return bytes(named.value).decode(errors="replace")
        name = window.get_wm_name()
        return name.decode("latin-1") if isinstance(name, bytes) else name or ""
    except XError:
        return ""


@contextlib.contextmanager
def opened(wanted: str | None) -> Iterator[Screen]:
    """Raises CaptureError where no X server answers, or the library for it is missing."""
    name = display_name(wanted, os.environ)
    try:
        from Xlib import display as xlib
        from Xlib.error import ConnectionClosedError, DisplayError
    except ImportError as error:
        raise CaptureError(
            "capturing a screen takes the Python package python-xlib: pip install 'twinfs[capture]'"
        ) from error
    try:
        display = xlib.Display(name)
    except (DisplayError, ConnectionClosedError, OSError) as error:
        raise CaptureError(
            f"the X display {name} does not answer: {error}\n"
            "  is it running, and may you use it (xhost, XAUTHORITY)?"
        ) from error
    try:
        yield Screen(display, name)
    finally:
        display.close()
