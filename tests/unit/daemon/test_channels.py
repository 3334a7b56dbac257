"""Hook and mail, with real programs in their places."""

from __future__ import annotations

import email
import email.policy
import json
from dataclasses import replace

import pytest

from twinfs.daemon.channels import Hook, Mail, channels_of, find_sendmail
from twinfs.daemon.command import CommandError
from twinfs.model import Event, Notice, Severity, VolumeState
from unit.daemon.fakes import make_config, make_paths

EVENT = Event(1700000000.25, "photos", "secondary_failed", "EIO on é")
NOTICE = Notice(EVENT, Severity.ERROR, VolumeState.DEGRADED, "check the disk")


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def sendmail(tmp_path, monkeypatch):
    """A sendmail that keeps what it is given."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return script(tmp_path / "bin/sendmail", f'echo "$@" > {tmp_path}/words; cat > {tmp_path}/mail')


def test_the_hook_gets_the_event_as_json_and_in_variables(tmp_path):
    keeping = f'cat > {tmp_path}/json; env > {tmp_path}/env; echo "$1" > {tmp_path}/one'
    hook = script(tmp_path / "hook", keeping)
    said = Hook([str(hook), "a b"], make_paths(tmp_path)).deliver([NOTICE])
    assert said.startswith(f"{hook} ended with exit code 0")
    assert json.loads((tmp_path / "json").read_text()) == {
        "type": "event",
        "time": 1700000000.25,
        "volume": "photos",
        "kind": "secondary_failed",
        "message": "EIO on é",
    }
    assert (tmp_path / "one").read_text() == "a b\n"
    variables = dict(line.partition("=")[::2] for line in (tmp_path / "env").read_text().splitlines())
    assert (
        variables.items()
        >= {
            "TWINFS_TIME": "1700000000.250",
            "TWINFS_VOLUME": "photos",
            "TWINFS_KIND": "secondary_failed",
            "TWINFS_MESSAGE": "EIO on é",
            "TWINFS_SEVERITY": "error",
            "TWINFS_STATE": "degraded",
            "TWINFS_ACTION": "check the disk",
            "TWINFS_CONFIG_DIR": str(tmp_path / "config"),
            "TWINFS_STATE_DIR": str(tmp_path / "state"),
        }.items()
    )


def test_a_message_that_no_variable_can_hold_is_whole_on_stdin(tmp_path):
    hook = script(tmp_path / "hook", f"cat > {tmp_path}/json")
    long = replace(NOTICE, event=replace(EVENT, message="x\0" * 200_000))
    Hook([str(hook)], make_paths(tmp_path)).deliver([long])
    assert json.loads((tmp_path / "json").read_text())["message"] == "x\0" * 200_000


def test_a_hook_that_fails_is_told_with_its_output(tmp_path):
    hook = script(tmp_path / "hook", "echo oh; exit 1")
    with pytest.raises(CommandError, match=r"exit code 1\n  oh"):
        Hook([str(hook)], make_paths(tmp_path)).deliver([NOTICE])


def test_a_mail_goes_to_all_addresses_and_says_what_happened(sendmail, tmp_path):
    assert (
        Mail(["root", "me@example.org"]).deliver([NOTICE]) == f"{sendmail} took it for root, me@example.org"
    )
    assert (tmp_path / "words").read_text() == "-i root me@example.org\n"
    raw = (tmp_path / "mail").read_bytes()
    assert b"\r" not in raw
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert mail["To"] == "root, me@example.org"
    assert mail["Subject"].startswith("twinfs: photos on ")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "text/plain"
    text = mail.get_content()
    assert "EIO on é" in text
    assert "check the disk" in text


def test_a_mail_with_an_odd_name_in_it_can_be_sent(sendmail, tmp_path):
    odd = replace(NOTICE, event=replace(EVENT, kind="x\r\nBcc: y", message="caf\udce9 \x00 " + "long " * 500))
    Mail(["root"]).deliver([odd])
    mail = email.message_from_bytes((tmp_path / "mail").read_bytes(), policy=email.policy.default)
    assert mail["Bcc"] is None
    assert r"caf\xe9" in mail.get_content()


def test_without_sendmail_the_failure_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("twinfs.daemon.channels._SENDMAIL_PLACES", ())
    assert find_sendmail() is None
    with pytest.raises(CommandError, match=r"sendmail is not installed.*apt install"):
        Mail(["root"]).deliver([NOTICE])


def test_sendmail_is_found_where_only_roots_path_leads(sendmail, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("twinfs.daemon.channels._SENDMAIL_PLACES", (str(tmp_path / "bin"),))
    assert find_sendmail() == str(sendmail)


def test_a_mounted_volume_is_no_mail_but_the_hook_hears_of_it(tmp_path):
    ordinary = replace(NOTICE, event=replace(EVENT, kind="mounted"))
    assert not Mail(["root"]).wants(ordinary)
    assert Hook(["x"], make_paths(tmp_path)).wants(ordinary)


def test_channels_are_those_of_the_settings(tmp_path):
    settings = make_config(tmp_path)
    assert channels_of(settings, make_paths(tmp_path)) == []
    both = replace(settings, on_event=("true",), mail_to=("root",))
    assert [channel.name for channel in channels_of(both, make_paths(tmp_path))] == ["hook", "mail"]
