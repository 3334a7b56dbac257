"""The daemon's log, in a process of its own: logging is set up once for all of it."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import logging, sys, warnings
from pathlib import Path
from twinfs.daemon import logfile
logfile.configure(Path(sys.argv[1]), also_to_stderr=sys.argv[2] == "loud")
logging.getLogger("twinfs.x").info("hello caf\\udce9")
warnings.warn("odd")
for number in range(int(sys.argv[3])):
    logging.getLogger("twinfs.x").info("x" * 1000)
"""


def run(path, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, path, *arguments], capture_output=True, text=True, check=True
    )
    return done.stderr


def test_messages_and_warnings_go_to_the_file(tmp_path):
    assert run(tmp_path / "log", "quiet", "0") == ""
    text = (tmp_path / "log").read_text()
    assert r"INFO twinfs.x: hello caf\udce9" in text
    assert "UserWarning: odd" in text


def test_in_the_foreground_they_are_on_the_terminal_as_well(tmp_path):
    assert "UserWarning: odd" in run(tmp_path / "log", "loud", "0")
    assert "hello" in (tmp_path / "log").read_text()


def test_the_log_does_not_grow_without_bound(tmp_path):
    run(tmp_path / "log", "quiet", "5000")
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 3
    assert max(sizes) <= 1 << 20
