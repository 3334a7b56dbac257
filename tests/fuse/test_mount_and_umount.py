"""A volume's life: mounted, unmounted in every way there is, killed, mounted again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support import tree
from support.machine import finish, is_mounted, mountpoints, needs_root, outcome, run, start_python, tool
from support.volume import Volume, is_running, twinfs_command, wait_until


def assert_equal_at_rest(volume: Volume) -> None:
    """Without a daemon: what is on the disks now."""
    volume.assert_rsync_finds_nothing()
    tree.assert_same(volume.primary, volume.secondary)


def write_something(directory: Path) -> None:
    (directory / "dir").mkdir()
    (directory / "dir/file").write_bytes(b"content" * 10_000)
    os.link(directory / "dir/file", directory / "hard")
    (directory / "link").symlink_to("dir/file")


def test_mount_answers_at_once_and_umount_leaves_two_equal_legs(volume: Volume) -> None:
    write_something(volume.mount)
    assert (volume.primary / "dir/file").exists()
    pid = volume.pid
    volume.umount()
    assert pid is not None
    assert not is_running(pid)
    assert os.listdir(volume.mount) == []
    assert_equal_at_rest(volume)


def test_umount_brings_the_secondary_up_to_date_long_before_the_next_batch(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="1h").init().mount_it()
    write_something(volume.mount)
    assert not (volume.secondary / "dir").exists()
    volume.twinfs("umount", volume.mount)  # by its mountpoint, this time
    assert not is_mounted(volume.mount)
    volume.wait_until_dead()
    assert_equal_at_rest(volume)


@pytest.mark.parametrize("program", ("fusermount3", "umount"))
def test_other_programs_unmount_cleanly_and_the_daemon_drains(new_volume, program: str) -> None:
    volume: Volume = new_volume("batched", interval="1h").init().mount_it()
    write_something(volume.mount)
    run(tool(program, "fuse3"), *(("-u",) if program == "fusermount3" else ()), volume.mount)
    assert not is_mounted(volume.mount)
    volume.wait_until_dead()
    assert_equal_at_rest(volume)
    assert volume.status()["state"] == "clean"


def test_sigterm_ends_the_daemon_as_umount_does(volume: Volume) -> None:
    write_something(volume.mount)
    assert volume.pid is not None
    os.kill(volume.pid, signal.SIGTERM)
    volume.wait_until_dead()
    wait_until(lambda: not is_mounted(volume.mount), 10, "the mount did not go")
    assert_equal_at_rest(volume)


def test_a_busy_mount_stays_and_umount_names_who_holds_it(new_volume) -> None:
    volume: Volume = new_volume().init().mount_it()
    holder = subprocess.Popen(["sleep", "1000"], cwd=volume.mount)
    try:
        done = volume.twinfs("umount", volume.name, check=False)
        assert done.returncode == 1
        assert str(holder.pid) in done.stderr
        assert "sleep" in done.stderr
        assert is_mounted(volume.mount)
        (volume.mount / "file").write_text("still works")
    finally:
        holder.kill()
        holder.wait()
    volume.umount()
    assert_equal_at_rest(volume)


def test_a_second_mount_is_refused_and_the_first_goes_on(volume: Volume) -> None:
    again = volume.twinfs("mount", volume.name, volume.mount, check=False)
    elsewhere = volume.twinfs("mount", volume.name, volume.base / "config", check=False)
    assert (again.returncode, elsewhere.returncode) == (1, 1)
    assert "mounted already" in again.stderr
    assert mountpoints().count(os.fsencode(volume.mount)) == 1
    (volume.mount / "file").write_text("x")


@pytest.mark.parametrize("mode", ("sync", "batched"))
def test_mounting_after_a_kill_clears_the_dead_mount_and_nothing_is_lost(new_volume, mode: str) -> None:
    volume: Volume = new_volume(mode, interval="1h").init().mount_it()
    write_something(volume.mount)
    volume.kill()
    assert outcome(os.stat, volume.mount)[0] in ("ENOTCONN", "ECONNABORTED")
    assert volume.status()["pid"] is None
    volume.remount()
    assert mountpoints().count(os.fsencode(volume.mount)) == 1
    assert (volume.mount / "dir/file").stat().st_size == 70_000
    volume.assert_legs_equal()


def test_umount_clears_the_mount_of_a_killed_daemon(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="1h").init().mount_it()
    write_something(volume.mount)
    volume.kill()
    volume.umount()
    assert outcome(os.listdir, volume.mount) == ("ok", [])
    volume.sync()  # without a daemon
    assert_equal_at_rest(volume)


def test_sync_of_a_volume_whose_daemon_was_killed_brings_the_secondary_up_to_date(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="1h").init().mount_it()
    write_something(volume.mount)
    volume.kill()
    volume.sync()
    assert_equal_at_rest(volume)
    volume.remount()
    volume.assert_legs_equal()


def test_the_volume_is_mounted_over_the_primary_s_own_path(new_volume, workspace: Path) -> None:
    primary = workspace / "home"
    volume: Volume = new_volume("sync", legs=(primary, workspace / "mirror"), mount=primary)
    (primary / "old").write_text("was there before")
    volume.init()
    before = os.open(primary, os.O_RDONLY)
    volume.mount_it()
    assert is_mounted(primary)
    assert (primary / "old").read_text() == "was there before"
    write_something(primary)
    volume.sync()
    assert (workspace / "mirror/dir/file").read_bytes() == b"content" * 10_000
    # Beneath the mount, by a descriptor that is older than it: the leg itself.
    assert sorted(set(os.listdir(before)) - {".twinfs"}) == ["dir", "hard", "link", "old"]
    os.close(before)
    volume.umount()
    assert (primary / "dir/file").exists()
    assert_equal_at_rest(volume)


def test_a_kill_over_the_primary_s_own_path_is_cleared(new_volume, workspace: Path) -> None:
    primary = workspace / "home"
    volume: Volume = new_volume("batched", legs=(primary, workspace / "mirror"), mount=primary, interval="1h")
    volume.init().mount_it()
    write_something(primary)
    volume.kill()
    volume.remount()
    assert (primary / "dir/file").exists()
    volume.sync()
    assert (workspace / "mirror/dir/file").exists()
    volume.umount()
    assert_equal_at_rest(volume)


def test_without_a_mountpoint_the_volume_is_mounted_over_its_primary(new_volume) -> None:
    volume: Volume = new_volume().init()
    volume.mount = volume.primary
    volume.twinfs("mount", volume.name)
    volume.pid = volume.status()["pid"]
    assert is_mounted(volume.primary)
    volume.umount()


def test_foreground_serves_until_it_is_interrupted(new_volume) -> None:
    volume: Volume = new_volume("batched", interval="1h").init()
    daemon = volume.start_twinfs("mount", volume.name, volume.mount, "--foreground")
    try:
        wait_until(lambda: is_mounted(volume.mount), 20, "no mount")
        write_something(volume.mount)
        assert volume.status()["pid"] == daemon.pid
        daemon.send_signal(signal.SIGINT)
        daemon.communicate(timeout=30)
    finally:
        daemon.kill()
    assert not is_mounted(volume.mount)
    assert_equal_at_rest(volume)


@needs_root
def test_mount_options_reach_the_kernel(new_volume) -> None:
    volume: Volume = new_volume().init().mount_it("-o", "noexec,nosuid")
    options = run("findmnt", "-n", "-o", "OPTIONS,FSTYPE,SOURCE", volume.mount).stdout
    assert "noexec" in options
    assert "nosuid" in options
    assert "allow_other" in options
    assert "fuse.twinfs" in options
    refused = volume.twinfs("mount", volume.name, volume.mount, "-o", "no_such_option", check=False)
    assert refused.returncode == 2


def test_what_cannot_be_mounted_says_why(new_volume, workspace: Path) -> None:
    volume: Volume = new_volume().init()
    (workspace / "file").touch()
    answers = {
        "unknown volume": volume.twinfs("mount", "nosuch", volume.mount, check=False),
        "missing": volume.twinfs("mount", volume.name, workspace / "missing", check=False),
        "file": volume.twinfs("mount", volume.name, workspace / "file", check=False),
    }
    assert [done.returncode for done in answers.values()] == [2, 1, 1]
    for done in answers.values():
        assert done.stderr.strip()
        assert "Traceback" not in done.stderr
    inside = volume.primary / "inside"
    inside.mkdir()
    assert volume.twinfs("mount", volume.name, inside, check=False).returncode == 2
    assert not any(is_mounted(path) for path in (volume.mount, inside, workspace / "file"))


def test_exit_codes_of_a_volume_that_is_not_mounted(new_volume) -> None:
    volume: Volume = new_volume().init()
    done = volume.twinfs("status", volume.name, "--json", check=False)
    assert done.returncode == 4
    assert json.loads(done.stdout)["pid"] is None
    assert volume.twinfs("umount", volume.name, check=False).returncode == 4
    assert volume.twinfs("umount", volume.mount, check=False).returncode == 4
    assert volume.twinfs("status", "nosuch", check=False).returncode == 2


def test_status_of_a_mounted_volume_has_every_promised_field(volume: Volume) -> None:
    status = volume.status()
    assert set(status) >= {
        "type", "volume", "pid", "state", "mode", "mountpoint", "legs", "pending", "last_scrub", "action",
    }  # fmt: skip
    assert (status["type"], status["volume"], status["mode"]) == ("status", volume.name, volume.mode)
    assert status["mountpoint"] == str(volume.mount)
    assert [leg["role"] for leg in status["legs"]] == ["primary", "secondary"]
    assert [leg["path"] for leg in status["legs"]] == [str(volume.primary), str(volume.secondary)]
    assert all(leg["total_bytes"] >= leg["free_bytes"] > 0 for leg in status["legs"])
    assert set(status["pending"]) >= {"changes", "bytes", "lag_seconds"}
    wait_until(lambda: volume.status()["state"] == "clean", 10, "an untouched volume is not clean")
    assert volume.twinfs("status", volume.name).stdout
    assert volume.twinfs("status", "--json").returncode == 0


def test_events_tell_of_mounts_and_unmounts(volume: Volume) -> None:
    volume.umount()
    kinds = [
        json.loads(line)["kind"]
        for line in volume.twinfs("events", volume.name, "--json").stdout.splitlines()
    ]
    assert "mounted" in kinds
    assert "unmounted" in kinds


_HOLD = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.write(fd, b"before ")
print("open", flush=True)
sys.stdin.readline()
os.write(fd, b"after")
os.close(fd)
"""


def test_a_lazy_umount_lets_open_files_finish(new_volume) -> None:
    volume: Volume = new_volume("sync").init().mount_it()
    holder = start_python(_HOLD, volume.mount / "file")
    assert holder.stdout is not None
    holder.stdout.readline()
    run("fusermount3", "-u", "-z", volume.mount)
    assert not is_mounted(volume.mount)
    again = volume.twinfs("mount", volume.name, volume.mount, check=False)
    assert (again.returncode, "still serves programs that have it open" in again.stderr) == (1, True), again
    assert holder.stdin is not None
    holder.stdin.write("go on\n")
    holder.stdin.flush()
    finish(holder)
    volume.wait_until_dead()
    assert (volume.primary / "file").read_bytes() == b"before after"
    assert_equal_at_rest(volume)


@needs_root
def test_a_mount_in_another_mount_namespace_is_told_from_one_here(new_volume) -> None:
    volume = new_volume("sync").init()
    inside = (tool("unshare", "util-linux"), "--mount", "--propagation", "private")
    run(*inside, *twinfs_command(), "mount", volume.name, volume.mount, env=volume.env)
    volume.pid = pid = volume.status()["pid"]
    try:
        assert not is_mounted(volume.mount)
        for words in (("mount", volume.name, volume.mount), ("umount", volume.name)):
            done = volume.twinfs(*words, check=False)
            assert done.returncode == 1
            assert f"in another mount namespace, by process {pid}" in done.stderr
            assert f"nsenter --mount --target {pid} twinfs umount pair" in done.stderr
        assert volume.status()["pid"] == pid
        there = (tool("nsenter", "util-linux"), "--mount", "--target", str(pid))
        run(*there, *twinfs_command(), "umount", volume.name, env=volume.env)
    finally:
        if is_running(pid):
            os.kill(pid, signal.SIGTERM)
        volume.wait_until_dead()
    volume.mount_it()


def test_two_volumes_live_side_by_side(new_volume) -> None:
    first: Volume = new_volume("sync", name="first").init().mount_it()
    second: Volume = new_volume("batched", name="second").init().mount_it()
    write_something(first.mount)
    (second.mount / "other").write_text("x")
    first.assert_legs_equal()
    second.assert_legs_equal()
    assert sorted(os.listdir(second.mount)) == ["other"]
    assert outcome(os.link, first.mount / "hard", second.mount / "hard")[0] == "EXDEV"


def test_a_program_started_from_the_volume_and_its_current_directory_are_fine(volume: Volume) -> None:
    (volume.mount / "work").mkdir()
    script = "import os; open('made', 'w').write(os.getcwd()); print(sorted(os.listdir('..')))"
    assert run(sys.executable, "-c", script, cwd=volume.mount / "work").stdout == "['work']\n"
    assert (volume.mount / "work/made").read_text() == str(volume.mount / "work")


def test_doctor_finds_a_mount_whose_daemon_died_and_the_command_that_mends_it(new_volume):
    volume = new_volume("sync").init()
    volume.configure(f'mountpoint = "{volume.mount}"')
    volume.mount_it()
    volume.kill()
    done = volume.twinfs("doctor", check=False)
    assert done.returncode == 1
    assert f"{volume.mount} is dead" in done.stdout
    assert "-> twinfs mount pair" in done.stdout
    volume.remount()
    assert "is dead" not in volume.twinfs("doctor", check=False).stdout
