"""A bar on a terminal, a line now and then elsewhere, nothing for what is quick."""

from __future__ import annotations

import io
import os
import pty
import select

import pytest

from twinfs.cli import progress
from twinfs.cli.progress import ProgressDisplay
from twinfs.model import Progress


def position(number):
    return Progress("copying", number, 10, number << 20, 10 << 20, "a [path]")


@pytest.fixture
def terminal():
    """A real terminal to write to, and a function that reads what has been drawn on it."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream:

        def drawn():
            stream.flush()
            text = b""
            while select.select([master], [], [], 0.1)[0]:
                text += os.read(master, 1 << 16)
            return text.decode()

        yield stream, drawn
    os.close(master)


def test_what_is_quick_shows_nothing():
    stream = io.StringIO()
    with ProgressDisplay(stream) as display:
        for number in range(10):
            display(position(number))
    assert stream.getvalue() == ""


def test_into_a_pipe_goes_a_line_now_and_then_and_one_at_the_end(monkeypatch):
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)
    stream = io.StringIO()
    with ProgressDisplay(stream) as display:
        display(position(1))
        display(position(2))
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("copying: 1 of 10 files, 1.0 MiB of 10.0 MiB")
    assert lines[-1].startswith("copying: 2 of 10 files")


def test_on_a_terminal_there_is_a_bar_that_leaves_one_line_behind(monkeypatch, terminal):
    monkeypatch.setattr(progress, "_QUIET_SECONDS", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream, drawn = terminal
    with ProgressDisplay(stream) as display:
        display(position(5))
        display(position(10))
    text = drawn()
    assert "━" in text
    assert text.rstrip().endswith("copying: 10 of 10 files, 10.0 MiB of 10.0 MiB")


def test_on_a_terminal_what_is_quick_shows_nothing(terminal):
    stream, drawn = terminal
    with ProgressDisplay(stream) as display:
        display(position(5))
    stream.write("end")
    assert drawn() == "end"


def test_a_bar_without_a_known_total_is_no_failure(monkeypatch, terminal):
    monkeypatch.setattr(progress, "_QUIET_SECONDS", 0.0)
    stream, drawn = terminal
    with ProgressDisplay(stream) as display:
        display(Progress("comparing", 7, 0, 0, 0, ""))
    assert "comparing: 7 files" in drawn()
