"""The daemon's log, in a process of its own: logging is set up once for all of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

SCRIPT = """
import logging, sys, warnings
from pathlib import Path
from twinfs.daemon import logfile
from twinfs.model import Severity
logfile.configure(Path(sys.argv[1]), also_to_stderr=sys.argv[2] == "loud")
logging.getLogger("twinfs.x").info("hello caf\\udce9")
logging.getLogger("twinfs.x").warning("careful")
logging.getLogger("twinfs.x").info("happened", extra={"severity": Severity.ERROR})
warnings.warn("odd")
for number in range(int(sys.argv[3])):
    logging.getLogger("twinfs.x").info("x" * 1000)
"""


def run(path, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, path, *arguments],
        env={**os.environ, "TWINFS_SYSLOG": "", "JOURNAL_STREAM": "", **environment},
        capture_output=True,
        text=True,
        check=True,
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


def test_nobody_else_may_read_it(tmp_path):
    """Also when an older one was there."""
    (tmp_path / "log").touch(0o644)
    run(tmp_path / "log", "quiet", "5000")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} <= {0o600}


def test_in_the_background_events_and_warnings_are_in_the_machines_log(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "socket"))
        server.setblocking(False)
        run(tmp_path / "log", "quiet", "0", TWINFS_SYSLOG=str(tmp_path / "socket"))
        lines = [server.recv(9000).decode() for _ in range(3)]
        with pytest.raises(BlockingIOError):
            server.recv(9000)
    assert [line.partition("twinfs[")[0] for line in lines] == ["<28>", "<27>", "<28>"]
    assert [word in line for word, line in zip(("careful", "happened", "odd"), lines, strict=True)] == [
        True
    ] * 3


def test_a_stderr_that_is_the_journal_gets_priorities(tmp_path):
    script = "import os; status = os.fstat(2)\n"
    script += "os.environ['JOURNAL_STREAM'] = f'{status.st_dev}:{status.st_ino}'\n"
    done = subprocess.run(
        [sys.executable, "-c", script + SCRIPT, tmp_path / "log", "loud", "0"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stderr.splitlines()
    assert "<4>twinfs.x: careful" in lines
    assert "<3>happened" in lines
    assert all(line.startswith("<") for line in lines)
