"""Commands on a volume that is not mounted: real labels, real settings, real logs."""

from __future__ import annotations

import json
import shutil
import threading

import pytest

from twinfs.daemon import config, protocol
from twinfs.daemon.events import EventLog
from twinfs.daemon.lock import VolumeLock
from twinfs.fsio import unix_socket
from twinfs.model import Mode


def test_init_labels_writes_settings_and_says_what_is_next(cli):
    answer = cli.init("--at", "03:30")
    assert answer.code == 0
    assert str(cli.paths.config_file("pair")) in answer.out
    assert "twinfs mount pair" in answer.err
    volume = config.load(cli.paths, "pair")
    assert (volume.mode, volume.at, volume.primary) == (Mode.BATCHED, "03:30", str(cli.primary))


def test_init_names_the_volume_after_its_primary(cli):
    cli("init", cli.primary, cli.secondary)
    assert config.list_names(cli.paths) == ["primary"]


def test_init_takes_relative_paths(cli, monkeypatch):
    monkeypatch.chdir(cli.base)
    cli("init", "primary", "secondary", "--mountpoint", "mnt")
    assert config.load(cli.paths, "primary").mountpoint == str(cli.base / "mnt")


def test_init_keeps_versions_when_it_is_asked_to(cli):
    assert cli.init("--keep-versions", "30d").code == 0
    text = cli.paths.config_file("pair").read_text()
    assert 'keep_versions = "30d"' in text
    assert 'keep_versions_size = "10%"' in text
    assert config.load(cli.paths, "pair").keep_versions_seconds == 30 * 86400


def test_init_keeps_nothing_unless_it_is_asked_to_and_refuses_nonsense(cli):
    assert cli.init("--keep-versions", "for ever").code == 2
    assert cli.init().code == 0
    assert "keep_versions" not in cli.paths.config_file("pair").read_text()


def test_init_twice_is_refused_with_what_to_do(cli):
    cli.init()
    answer = cli.init()
    assert answer.code == 2
    assert "configured already" in answer.err


def test_adopting_brings_the_secondary_up_to_date_at_once(cli):
    (cli.primary / "file").write_text("new")
    (cli.secondary / "file").write_text("older")
    (cli.secondary / "only here").write_text("kept")
    answer = cli.init("--adopt")
    assert answer.code == 0, answer.err
    assert (cli.secondary / "file").read_text() == "new"
    assert not (cli.secondary / "only here").exists()
    kept = (cli.secondary / ".twinfs" / "quarantine").rglob("only here")
    assert [path.read_text() for path in kept] == ["kept"]


def test_status_of_an_unmounted_volume_ends_with_4_and_of_all_volumes_with_0(cli):
    cli.init("--adopt")
    answer = cli("status", "pair")
    assert answer.code == 4
    assert answer.out.startswith("pair: clean")
    assert cli("status").code == 0


def test_status_as_json_is_one_object_a_line(cli):
    cli.init()
    status = json.loads(cli("status", "pair", "--json").out)
    assert status["type"] == "status"
    assert (status["volume"], status["pid"], status["mountpoint"]) == ("pair", None, None)


def test_one_broken_volume_does_not_hide_the_others(cli):
    cli.init()
    cli.paths.config_file("broken").write_text("x")
    answer = cli("status")
    assert answer.code == 2
    assert "broken.toml: not TOML" in answer.err
    assert answer.out.startswith("pair: ")


def test_status_of_an_unknown_volume_is_a_usage_error(cli):
    cli.init()
    answer = cli("status", "pare")
    assert answer.code == 2
    assert "did you mean pair" in answer.err


def test_sync_works_without_a_mount(cli):
    (cli.primary / "file").write_text("content")
    cli.init()
    assert cli("sync", "pair").code == 0
    assert (cli.secondary / "file").read_text() == "content"


def test_sync_is_refused_while_another_process_has_the_volume(cli):
    cli.init()
    with VolumeLock(cli.paths, "pair"):
        answer = cli("sync", "pair")
    assert answer.code == 1
    assert "in use by process" in answer.err


def test_sync_without_the_secondarys_disk_says_so(cli):
    cli.init()
    (cli.secondary / ".twinfs" / "label.json").unlink()
    answer = cli("sync", "pair")
    assert answer.code == 1
    assert "not mounted" in answer.err


def test_mode_of_an_unmounted_volume_is_in_its_settings_and_events(cli):
    cli.init()
    answer = cli("mode", "pair", "batched", "--interval", "2m")
    assert answer.out == "volume pair: batched mode, every 2 min\n"
    assert config.load(cli.paths, "pair").interval_seconds == 120.0
    assert "mode_changed" in cli("events", "pair").out


@pytest.mark.parametrize("tokens", [("sync", "--at", "03:30"), ("batched", "--interval", "never")])
def test_a_mode_that_cannot_be_changes_nothing(cli, tokens):
    cli.init()
    before = cli.paths.config_file("pair").read_text()
    assert cli("mode", "pair", *tokens).code == 2
    assert cli.paths.config_file("pair").read_text() == before


def test_a_mode_that_the_daemon_refuses_is_not_left_in_the_settings(cli):
    cli.init()
    before = cli.paths.config_file("pair").read_text()
    with unix_socket.listen(cli.paths.socket("pair")) as listener:

        def refuse():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(protocol.encode(protocol.ErrorReply("the secondary is behind", 1)))

        daemon = threading.Thread(target=refuse)
        daemon.start()
        answer = cli("mode", "pair", "batched")
        daemon.join()
    assert (answer.code, answer.err) == (1, "twinfs: the secondary is behind\n")
    assert cli.paths.config_file("pair").read_text() == before


def test_events_are_printed_as_text_and_as_json(cli):
    cli.init()
    cli.paths.make_volume_dir("pair")
    EventLog(cli.paths.events_file("pair"), "pair").append("mounted", "at /mnt")
    assert "mounted        at /mnt" in cli("events", "pair").out
    event = json.loads(cli("events", "pair", "--json").out)
    assert (event["type"], event["kind"]) == ("event", "mounted")


def test_a_test_event_without_a_mount_says_what_each_channel_did(cli, monkeypatch):
    monkeypatch.setenv("TWINFS_SYSLOG", "")
    cli.init()
    answer = cli("events", "pair", "--test")
    assert answer.code == 0
    assert "not mounted" in answer.err
    assert [line.split()[:2] for line in answer.out.splitlines()] == [
        ["ok", "log"],
        ["off", "journal"],
        ["off", "hook"],
        ["off", "mail"],
        ["off", "metrics"],
    ]
    assert "test" in cli("events", "pair").out


def test_a_test_event_that_a_channel_cannot_hand_on_ends_with_1(cli, monkeypatch):
    monkeypatch.setenv("TWINFS_SYSLOG", "")
    cli.init()
    with cli.paths.config_file("pair").open("a") as file:
        file.write("on_event = ['sh', '-c', 'echo no display; exit 4']\n")
    answer = cli("events", "pair", "--test", "--json")
    assert answer.code == 1
    [hook] = [json.loads(line) for line in answer.out.splitlines() if '"hook"' in line]
    assert (hook["type"], hook["verdict"]) == ("channel", "failed")
    assert "exit code 4\n  no display" in hook["message"]
    assert f"\n{'':19}no display" in cli("events", "pair", "--test").out


def test_a_test_event_is_sent_even_when_the_primary_is_gone(cli, monkeypatch):
    monkeypatch.setenv("TWINFS_SYSLOG", "")
    cli.init()
    shutil.rmtree(cli.primary)
    assert cli("events", "pair", "--test").code == 0


@pytest.mark.parametrize("target", ["pair", "/nowhere", "nobody"])
def test_umount_of_what_is_not_mounted_ends_with_4(cli, target):
    cli.init()
    answer = cli("umount", target)
    assert answer.code == 4
    assert "mounted" in answer.err


@pytest.mark.parametrize("option", ["ro", "nosiud"])
def test_mount_refuses_options_it_cannot_honour(cli, option):
    cli.init()
    answer = cli("mount", "pair", "-o", option)
    assert answer.code == 2
    assert option in answer.err


def test_init_sync_and_mode_tell_scripts_in_json(cli):
    (cli.primary / "file").write_text("new")
    (cli.secondary / "file").write_text("of before")
    made = cli.init("--adopt", "--at", "03:30", "--json")
    assert json.loads(made.out) == {
        "type": "init",
        "volume": "pair",
        "config": str(cli.paths.config_file("pair")),
        "primary": str(cli.primary),
        "secondary": str(cli.secondary),
        "mode": "batched",
        "adopted": True,
    }
    assert (cli.secondary / "file").read_text() == "new"
    assert json.loads(cli("sync", "pair", "--json").out) == {
        "type": "sync",
        "volume": "pair",
        "message": "the secondary is up to date",
    }
    for words, interval_seconds, at in (
        (("batched", "--at", "03:30"), None, "03:30"),
        (("batched", "--interval", "2m"), 120.0, None),
        (("sync",), None, None),
    ):
        assert json.loads(cli("mode", "pair", *words, "--json").out) == {
            "type": "mode",
            "volume": "pair",
            "mode": words[0],
            "interval_seconds": interval_seconds,
            "at": at,
        }
