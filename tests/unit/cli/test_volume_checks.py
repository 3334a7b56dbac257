"""What doctor finds of volumes, and the command that mends it."""

from __future__ import annotations

import json
import os
from dataclasses import replace

from support.machine import needs_root
from twinfs.cli import init
from twinfs.cli import volume_checks as checks
from twinfs.cli.checks import Check, Verdict
from twinfs.daemon import mounts, old_jobs
from twinfs.model import (
    LegState,
    LegStatus,
    Mode,
    Pending,
    PutAside,
    Role,
    VolumeConfig,
    VolumeState,
    VolumeStatus,
)


def findings(cli, name: str = "pair") -> dict[str, dict[str, str]]:
    found = [json.loads(line) for line in cli("doctor", "--json").out.splitlines()]
    return {check["name"]: check for check in found if f"volume {name}" in check["name"]}


@needs_root
def test_a_leg_whose_disk_is_away_is_found_with_what_to_do(cli):
    cli.init()
    (cli.secondary / ".twinfs" / "label.json").unlink()
    answer = cli("doctor", "--json")
    assert answer.code == 1
    found = [json.loads(line) for line in answer.out.splitlines()]
    [leg] = [check for check in found if check["verdict"] == "missing"]
    assert leg["name"] == "volume pair, secondary"
    assert leg["fix"] == f"mount its disk: mount {cli.secondary}"


@needs_root
def test_files_without_their_label_are_found_with_what_to_do(cli):
    cli.init()
    (cli.secondary / ".twinfs" / "label.json").unlink()
    (cli.secondary / "file").touch()
    leg = findings(cli)["volume pair, secondary"]
    assert leg["verdict"] == "missing"
    assert "has no twinfs label, but files" in leg["message"]
    assert f"twinfs replace NAME secondary {cli.secondary} --adopt" in leg["fix"]
    assert "--adopt" in cli("status", "pair").out


def test_a_nightly_rsync_into_the_mirror_is_found_by_init_and_by_doctor(cli, monkeypatch):
    table = cli.base / "crontab"
    line = f"0 3 * * * root rsync -a --delete {cli.primary}/ {cli.secondary}/"
    table.write_text(f"{line}\n")
    job = old_jobs.Job(str(table), line)
    for module in (checks, init):
        monkeypatch.setattr(module, "jobs_into", lambda leg: [job] if leg == str(cli.secondary) else [])
    assert line in cli.init().err
    found = findings(cli)["volume pair, old job"]
    assert found["verdict"] == "missing"
    assert line in found["fix"]


def test_settings_that_cannot_be_read_are_found(cli):
    os.makedirs(cli.paths.config_dir)
    cli.paths.config_file("pair").write_text("x")
    assert "MISSING  volume pair: " in cli("doctor").out


def test_channels_that_cannot_work_are_found_before_they_are_needed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("twinfs.daemon.channels._SENDMAIL_PLACES", ())
    volume = VolumeConfig("pair", "v", "/a", "/b")
    assert list(checks.channels(volume)) == []
    asked = replace(volume, on_event=("hook",), mail_to=("root",), metrics_file=f"{tmp_path}/m/x.prom")
    found = list(checks.channels(asked))
    assert [check.verdict for check in found] == [Verdict.MISSING] * 3
    assert all(check.fix for check in found)
    for program in ("hook", "sendmail"):
        (tmp_path / program).touch(mode=0o755)
    (tmp_path / "m").mkdir()
    assert [check.verdict for check in checks.channels(asked)] == [Verdict.OK] * 3


def use_each_alone(cli) -> None:
    """As far as the labels know."""
    for leg in (cli.primary, cli.secondary):
        label = json.loads((leg / ".twinfs/label.json").read_text())
        label |= {"is_alone": True, "events": label["events"] + 1, "role": "primary"}
        (leg / ".twinfs/label.json").write_text(json.dumps(label))


def test_a_split_brain_is_found_with_both_ways_out(cli):
    cli.init()
    cli("sync", "pair")
    assert findings(cli).keys() >= {"volume pair, primary"}
    assert "volume pair" not in findings(cli)
    use_each_alone(cli)
    answer = cli("doctor")
    assert answer.code == 1
    split = findings(cli)["volume pair"]
    assert split["verdict"] == "missing"
    assert "each leg was changed without the other" in split["message"]
    assert "--prefer primary --dry-run" in split["fix"] and "--prefer primary|secondary" in split["fix"]


def test_a_damaged_label_is_found_with_its_path(cli):
    cli.init()
    (cli.secondary / ".twinfs/label.json").write_bytes(b"\0" * 200)
    found = findings(cli)["volume pair, secondary"]
    assert (found["verdict"], "faulty" in found["message"]) == ("missing", True)
    assert f"{cli.secondary}: its label" in found["fix"]


def test_another_volumes_disk_is_found_with_whose_it_is(cli):
    cli.init()
    label = json.loads((cli.secondary / ".twinfs/label.json").read_text())
    label |= {"volume": "music", "volume_id": "another"}
    (cli.secondary / ".twinfs/label.json").write_text(json.dumps(label))
    assert "'music'" in findings(cli)["volume pair, secondary"]["fix"]


def test_a_damaged_log_is_found_and_one_that_was_never_there_is_not(cli):
    cli.init()
    assert "volume pair, log" not in findings(cli)
    cli("sync", "pair")
    assert "volume pair, log" not in findings(cli)
    log = cli.paths.state_dir / "pair/intent.log"
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) // 2] + b"\xff" * 40)
    assert "is damaged" in findings(cli)["volume pair, log"]["message"]
    log.unlink()
    assert "is gone" in findings(cli)["volume pair, log"]["message"]
    cli("sync", "pair")
    assert "volume pair, log" not in findings(cli)


def status(free: int, put_aside: int = 0) -> VolumeStatus:
    legs = tuple(LegStatus(role, f"/{role}", LegState.IN_SYNC, 1000, free) for role in Role)
    return VolumeStatus(
        volume="pair",
        pid=None,
        state=VolumeState.CLEAN,
        mode=Mode.SYNC,
        mountpoint=None,
        legs=legs,
        pending=Pending(0, 0, 0.0),
        last_scrub=None,
        action=None,
        quarantine=PutAside(put_aside),
    )


def test_a_secondary_that_is_nearly_full_is_found_before_it_is():
    assert list(checks.room(status(50))) == []
    [found] = checks.room(status(49))
    assert (found.verdict, "4.9 %" in found.message) == (Verdict.ADVICE, True)
    assert found.fix is not None and "quarantine" not in found.fix
    [found] = checks.room(status(49, put_aside=1))
    assert found.fix is not None and found.fix.startswith("twinfs quarantine pair --purge")


def lines(cli, text: str) -> list[Check]:
    table = cli.base / "fstab"
    table.write_text(text)
    return list(checks.fstab_lines(cli.paths, table))


def test_lines_of_fstab_are_checked_before_a_boot(cli):
    cli.init()
    mountpoint = cli.base / "mnt"
    mountpoint.mkdir()
    assert lines(cli, "# pair /nowhere fuse.twinfs ro\nproc /proc proc defaults 0 0\n") == []
    for good in (
        f"pair {mountpoint} fuse.twinfs nofail 0 0",
        f"{cli.primary} {mountpoint} fuse.twinfs secondary={cli.secondary},x-systemd.automount 0 0",
        f"{cli.primary} {cli.primary} fuse.twinfs secondary={cli.secondary}",
        f"{cli.base}/new {mountpoint} fuse.twinfs secondary={mountpoint}",
    ):
        assert [check.verdict for check in lines(cli, good)] == [Verdict.OK], good
    for bad, said in (
        (f"pare {mountpoint} fuse.twinfs defaults 0 0", "did you mean pair"),
        (f"pair {mountpoint} fuse.twinfs ro 0 0", "read-only"),
        (f"pair {mountpoint} fuse.twinfs nofial 0 0", "did you mean nofail"),
        (f"pair {mountpoint}/none fuse.twinfs defaults 0 0", "no directory"),
        (f"{cli.base}/new {mountpoint} fuse.twinfs defaults 0 0", "no volume has its primary"),
        (f"{cli.primary} {mountpoint} fuse.twinfs secondary={cli.base}", "has its secondary at"),
        (f"{cli.primary} {cli.primary} fuse.twinfs x-systemd.automount", "would cover the primary"),
    ):
        [check] = lines(cli, bad)
        assert check.verdict is Verdict.MISSING and said in check.message, bad


def test_no_mount_is_asked_but_the_volumes_own(cli, monkeypatch):
    """One that hangs, somebody else's of the same name, would hold doctor up for ever."""
    cli.init()
    own = str(cli.primary)
    table = [
        mounts.Mount(1, 0, "0:1", place, mounts.FILESYSTEM_TYPE, "pair") for place in (own, "/mnt/another")
    ]
    asked = []
    monkeypatch.setattr(mounts, "read", lambda: table)
    monkeypatch.setattr(mounts, "is_dead", lambda mountpoint: not asked.append(mountpoint))
    assert findings(cli)["volume pair, mount"]["fix"] == "twinfs mount pair"
    assert set(asked) == {own}
