"""A test event through every channel."""

from __future__ import annotations

import json
import socket
from dataclasses import replace

import pytest

from twinfs.daemon.events import EventLog
from twinfs.daemon.rehearsal import rehearse
from twinfs.model import Severity, Verdict
from twinfs.report.metrics import Counters
from unit.daemon.fakes import make_config, make_paths
from unit.daemon.test_channels import script
from unit.report.test_attention import HEALTHY

COUNTERS = Counters({Severity.INFO: 1}, {})


@pytest.fixture
def paths(tmp_path, monkeypatch):
    monkeypatch.setenv("TWINFS_SYSLOG", str(tmp_path / "log"))
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    return make_paths(tmp_path)


def verdicts(channels):
    return {channel.channel: channel.verdict for channel in channels}


def test_what_nobody_asked_for_is_off(paths, tmp_path):
    found = rehearse(paths, make_config(tmp_path), HEALTHY, COUNTERS)
    assert verdicts(found) == {
        "log": Verdict.OK,
        "journal": Verdict.OFF,
        "hook": Verdict.OFF,
        "mail": Verdict.OFF,
        "metrics": Verdict.OFF,
    }
    assert "on_event" in found[2].message


def test_every_channel_gets_it(paths, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    script(tmp_path / "bin/sendmail", f"cat > {tmp_path}/mail")
    hook = script(tmp_path / "hook", f"cat > {tmp_path}/heard")
    settings = replace(
        make_config(tmp_path),
        on_event=(str(hook),),
        mail_to=("root",),
        metrics_file=str(tmp_path / "pair.prom"),
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        server.settimeout(5)
        found = rehearse(paths, settings, HEALTHY, COUNTERS)
        assert b"volume pair: test: a test" in server.recv(9000)
    assert set(verdicts(found).values()) == {Verdict.OK}
    [event] = EventLog(paths.events_file("pair"), "pair").read()
    assert event.kind == "test"
    assert json.loads((tmp_path / "heard").read_text())["kind"] == "test"
    assert "only a test" in (tmp_path / "mail").read_text()
    assert 'twinfs_mounted{volume="pair"} 1' in (tmp_path / "pair.prom").read_text()


def test_each_failure_is_told_for_itself(paths, tmp_path, monkeypatch):
    monkeypatch.setattr("twinfs.daemon.channels._SENDMAIL_PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    paths.make_volume_dir("pair")
    paths.events_file("pair").mkdir()
    (tmp_path / "log").touch()
    settings = replace(
        make_config(tmp_path),
        on_event=("/no/such/hook",),
        mail_to=("root",),
        metrics_file="/no/such/directory/pair.prom",
    )
    found = rehearse(paths, settings, None, COUNTERS)
    assert set(verdicts(found).values()) == {Verdict.FAILED}
    assert [
        word in channel.message
        for word, channel in zip(
            ("directory", "Connection refused", "No such file", "sendmail", "No such file"),
            found,
            strict=True,
        )
    ] == [True] * 5


def test_a_volume_that_is_not_mounted_is_not_called_so(paths, tmp_path):
    settings = replace(make_config(tmp_path), metrics_file=str(tmp_path / "pair.prom"))
    rehearse(paths, settings, replace(HEALTHY, mountpoint=None), COUNTERS)
    assert 'twinfs_mounted{volume="pair"} 0' in (tmp_path / "pair.prom").read_text()
