"""Hooks, mail and metrics of a mounted volume, and what they must never do to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.machine import is_mounted, run, tool
from support.volume import Volume, is_running, twinfs_command, wait_until


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def metrics(path: Path) -> dict[str, float]:
    """{name and label values beside the volume's: value}."""
    values = {}
    for family in text_string_to_metric_families(path.read_text()):
        for sample in family.samples:
            labels = [value for key, value in sample.labels.items() if key != "volume"]
            values[" ".join((sample.name, *labels))] = sample.value
    return values


def test_a_lost_secondary_reaches_the_hook_the_mail_and_the_metrics(new_volume, workspace: Path) -> None:
    (workspace / "bin").mkdir()
    script(workspace / "bin/sendmail", f"cat > {workspace}/mail")
    hook = script(
        workspace / "hook", f'echo "$TWINFS_KIND $TWINFS_SEVERITY $TWINFS_STATE" >> {workspace}/heard'
    )
    prefix = ("env", f"PATH={workspace}/bin:{os.environ['PATH']}")
    volume: Volume = new_volume("sync", command_prefix=prefix).init()
    prom = workspace / "pair.prom"
    volume.configure(f'on_event = "{hook}"', 'mail_to = "root"', f'metrics_file = "{prom}"')
    (volume.secondary / ".twinfs").rename(workspace / "kept")
    volume.mount_it("--degraded")
    (volume.mount / "file").write_text("on one leg")
    wait_until(lambda: (workspace / "mail").exists() and (workspace / "mail").stat().st_size, 10, "no mail")
    assert "the secondary is missing" in (workspace / "mail").read_text()
    assert str(volume.secondary) in (workspace / "mail").read_text()
    wait_until(lambda: "mounted" in (workspace / "heard").read_text(), 10, "no hook")
    assert "secondary_missing error degraded" in (workspace / "heard").read_text().splitlines()
    wait_until(lambda: metrics(prom).get("twinfs_events_total error"), 10, "not in the metrics")
    values = metrics(prom)
    assert (values["twinfs_mounted"], values["twinfs_state degraded"]) == (1, 1)
    assert values["twinfs_leg_state secondary missing"] == 1
    assert "twinfs_leg_size_bytes secondary" not in values
    assert values["twinfs_needs_action"] == 1
    (workspace / "kept").rename(volume.secondary / ".twinfs")
    volume.sync()
    volume.umount()
    assert metrics(prom)["twinfs_mounted"] == 0
    assert (workspace / "heard").read_text().splitlines()[-1].startswith("unmounted info")


def test_a_hook_that_hangs_holds_up_neither_work_nor_the_unmount(new_volume, workspace: Path) -> None:
    hook = script(workspace / "hook", f"sleep 1000 & echo $! $$ >> {workspace}/pids; wait")
    volume: Volume = new_volume("sync").init()
    volume.configure(f'on_event = "{hook}"')
    volume.mount_it()
    wait_until(lambda: (workspace / "pids").exists(), 10, "the hook did not start")
    begin = time.monotonic()
    for number in range(50):
        (volume.mount / str(number)).write_text("x")
    assert time.monotonic() - begin < 5
    begin = time.monotonic()
    volume.umount()
    assert time.monotonic() - begin < 15
    pids = [int(pid) for pid in (workspace / "pids").read_text().split()]
    assert len(pids) >= 2
    wait_until(lambda: not any(is_running(pid) for pid in pids), 5, "the hook lives on")


def test_a_hook_may_use_the_volume_and_the_command(new_volume, workspace: Path) -> None:
    """Both need the daemon to answer while it runs the hook."""
    volume: Volume = new_volume("sync").init()
    hook = script(
        workspace / "hook",
        f'[ "$TWINFS_KIND" = mounted ] || exit 0\n'
        f"cat >> {volume.mount}/events.log && {' '.join(twinfs_command())} status $TWINFS_VOLUME --json"
        f" > {workspace}/status",
    )
    volume.configure(f'on_event = "{hook}"')
    volume.mount_it()
    answer = workspace / "status"
    wait_until(lambda: answer.exists() and answer.stat().st_size, 20, "no hook")
    assert json.loads(answer.read_text())["mountpoint"] == str(volume.mount)
    assert json.loads((volume.mount / "events.log").read_text())["kind"] == "mounted"
    assert (volume.mount / "events.log").stat().st_mode & 0o777 == 0o644


def test_a_test_event_of_a_mounted_volume_comes_from_its_daemon(new_volume, workspace: Path) -> None:
    hook = script(workspace / "hook", f"echo $PPID >> {workspace}/parents; test ! -e {workspace}/fail")
    volume: Volume = new_volume("sync").init()
    volume.configure(f'on_event = "{hook}"')
    volume.mount_it()
    done = volume.twinfs("events", volume.name, "--test", "--json")
    verdicts = {line["channel"]: line["verdict"] for line in map(json.loads, done.stdout.splitlines())}
    assert verdicts == {"log": "ok", "journal": "off", "hook": "ok", "mail": "off", "metrics": "off"}
    assert str(volume.pid) in (workspace / "parents").read_text().split()
    (workspace / "fail").touch()
    assert volume.twinfs("events", volume.name, "--test", check=False).returncode == 1
    assert "test" in volume.twinfs("events", volume.name).stdout


def test_a_mount_that_is_refused_is_told_once_an_hour(new_volume, workspace: Path) -> None:
    """At boot, and again with every access to an automount, nobody reads what a mount says."""
    hook = script(workspace / "hook", f'echo "$TWINFS_KIND: $TWINFS_MESSAGE" >> {workspace}/heard')
    volume: Volume = new_volume("sync").init()
    volume.configure(f'on_event = "{hook}"')
    (volume.secondary / ".twinfs").rename(workspace / "kept")
    for _ in range(2):
        assert volume.twinfs("mount", volume.name, volume.mount, check=False).returncode == 1
    lines = (workspace / "heard").read_text().splitlines()
    assert [line.partition(":")[0] for line in lines if not line.startswith(" ")] == ["mount_failed"]
    assert str(volume.secondary) in lines[0]
    assert volume.twinfs("events", volume.name).stdout.count("mount_failed") == 1
    (workspace / "kept").rename(volume.secondary / ".twinfs")


def test_metrics_of_a_killed_daemon_stay_and_age(new_volume, workspace: Path) -> None:
    prom = workspace / "pair.prom"
    volume: Volume = new_volume("batched", interval="1h").init()
    volume.configure(f'metrics_file = "{prom}"')
    volume.mount_it()
    wait_until(prom.exists, 10, "no metrics")
    assert prom.stat().st_mode & 0o777 == 0o644
    (volume.mount / "file").write_text("x")
    assert volume.pid is not None
    os.kill(volume.pid, signal.SIGKILL)
    volume.wait_until_dead()
    assert metrics(prom)["twinfs_mounted"] == 1
    volume.remount()
    volume.umount()
    assert metrics(prom)["twinfs_mounted"] == 0
    assert os.listdir(workspace).count("pair.prom") == 1
    assert not [name for name in os.listdir(workspace) if name.endswith(".new")]


@pytest.mark.slow
def test_people_are_told_while_the_secondary_hangs(new_volume, workspace: Path) -> None:
    """Without an error: the file system beneath it stops answering."""
    volume: Volume = new_volume("sync", legs=(workspace / "one", workspace / "two"))
    (workspace / "disk").mkdir()
    bindfs = subprocess.Popen([tool("bindfs", "bindfs"), "-f", workspace / "disk", volume.secondary])
    try:
        wait_until(lambda: is_mounted(volume.secondary), 10, "bindfs did not mount")
        volume.init()
        hook = script(workspace / "hook", f'echo "$TWINFS_KIND $TWINFS_STATE" >> {workspace}/heard')
        prom = workspace / "pair.prom"
        volume.configure(f'on_event = "{hook}"', f'metrics_file = "{prom}"', 'leg_timeout = "1s"')
        volume.mount_it()
        wait_until(lambda: volume.status()["state"] == "clean", 10, "not clean")
        bindfs.send_signal(signal.SIGSTOP)
        (volume.mount / "file").write_text("written while it hangs")
        begin = time.monotonic()
        assert json.loads((volume.mount / ".twinfs/status").read_text())["type"] == "status"
        assert volume.status()["legs"][1]["total_bytes"] >= 0
        assert time.monotonic() - begin < 5
        heard = workspace / "heard"
        wait_until(lambda: "secondary_failed degraded" in heard.read_text(), 15, "not told")
        wait_until(lambda: metrics(prom).get("twinfs_state degraded"), 15, "not in the metrics")
        bindfs.send_signal(signal.SIGCONT)
        wait_until(lambda: volume.twinfs("sync", volume.name, check=False).returncode == 0, 30, "not back")
        volume.umount()
        assert (workspace / "disk/file").read_text() == "written while it hangs"
    finally:
        bindfs.send_signal(signal.SIGCONT)
        volume.abandon()
        run("umount", "-l", volume.secondary, check=False)
        bindfs.wait(10)
