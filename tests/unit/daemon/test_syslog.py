"""Lines for the journal and for a syslog socket, which is real here."""

from __future__ import annotations

import logging
import os
import socket
import time

import pytest

from twinfs.daemon import syslog
from twinfs.daemon.syslog import SEVERITY, JournalFormatter, SyslogHandler, is_journal, priority_of
from twinfs.model import Severity


def record(level=logging.INFO, message="hello", severity=None):
    made = logging.LogRecord("twinfs.x", level, __file__, 1, message, None, None)
    if severity is not None:
        setattr(made, SEVERITY, severity)
    return made


@pytest.fixture
def log(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        server.settimeout(5)
        yield server


@pytest.fixture
def handler(tmp_path):
    made = SyslogHandler(tmp_path / "log")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("level", "severity", "priority"),
    [
        (logging.DEBUG, None, 7),
        (logging.INFO, None, 6),
        (logging.WARNING, None, 4),
        (logging.ERROR, None, 3),
        (logging.CRITICAL, None, 3),
        (logging.INFO, Severity.INFO, 6),
        (logging.INFO, Severity.WARNING, 4),
        (logging.INFO, Severity.ERROR, 3),
    ],
)
def test_an_event_has_the_priority_of_its_severity_and_all_else_of_its_level(level, severity, priority):
    assert priority_of(record(level, severity=severity)) == priority


def test_each_line_for_the_journal_has_its_priority():
    text = JournalFormatter().format(record(logging.WARNING, "one\ntwo"))
    assert text == "<4>twinfs.x: one\n<4>two"


def test_a_line_for_syslog_has_facility_priority_name_and_process(log, handler):
    handler.handle(record(message="volume photos: secondary_failed: EIO", severity=Severity.ERROR))
    expected = f"<27>twinfs[{os.getpid()}]: volume photos: secondary_failed: EIO"
    assert log.recv(9000).decode() == expected


def test_only_events_and_warnings_go_there(log, handler):
    handler.handle(record(message="ordinary"))
    handler.handle(record(logging.WARNING, message="warning"))
    assert log.recv(9000).endswith(b"]: warning")


def test_an_odd_or_endless_message_is_one_bounded_line(log, handler):
    handler.handle(record(message="caf\udce9\nsecond " + "x" * 20_000, severity=Severity.INFO))
    line = log.recv(99_000)
    assert rb"caf\xe9 second xxx" in line
    assert len(line) == 8192


def test_a_log_that_does_not_read_loses_lines_and_no_time(log, handler):
    begin = time.monotonic()
    for number in range(5000):
        handler.handle(record(message=str(number), severity=Severity.INFO))
    assert time.monotonic() - begin < 5
    assert log.recv(9000).endswith(b"]: 0")


def test_a_log_that_was_started_again_is_found_again(tmp_path, handler):
    for _ in range(2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(str(tmp_path / "log"))
            server.settimeout(5)
            handler.handle(record(severity=Severity.INFO))
            assert server.recv(9000).endswith(b"hello")
        (tmp_path / "log").unlink()
    handler.handle(record(severity=Severity.INFO))  # nobody listens: nothing happens


def test_a_single_line_can_be_sent_and_a_missing_log_is_told(log, tmp_path):
    syslog.send(tmp_path / "log", Severity.WARNING, "alone")
    assert log.recv(9000) == f"<28>twinfs[{os.getpid()}]: alone".encode()
    with pytest.raises(OSError, match="No such file"):
        syslog.send(tmp_path / "none", Severity.INFO, "x")


def test_the_journal_is_known_by_its_stream(tmp_path, monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    with (tmp_path / "stream").open("wb") as file:
        assert not is_journal(file.fileno())
        status = os.fstat(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert is_journal(file.fileno())
        with (tmp_path / "other").open("wb") as other:
            assert not is_journal(other.fileno())
    assert not is_journal(99999)
