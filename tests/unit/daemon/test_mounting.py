"""What is settled, cleared and refused before a daemon is started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from support.machine import needs_root, run
from twinfs.daemon import mounting
from twinfs.daemon.options import MountOptions
from twinfs.errors import AlreadyMountedError, MountError, UsageError
from unit.daemon.fakes import make_config, make_paths
from unit.daemon.test_lock import HOLD


@pytest.fixture
def paths(tmp_path):
    for name in ("primary", "secondary", "mnt"):
        (tmp_path / name).mkdir()
    return make_paths(tmp_path)


@pytest.fixture
def prepare(paths, tmp_path):
    said = []

    def prepare(where=None, options=MountOptions(), **changes):  # noqa: B008  frozen
        volume = replace(make_config(tmp_path), **changes)
        return mounting.prepare(paths, volume, where, options, say=said.append)

    prepare.said = said
    return prepare


def test_the_mountpoint_given_wins_over_the_settings_and_these_over_the_primary(prepare, tmp_path):
    mnt = str(tmp_path / "mnt")
    assert prepare(mnt, mountpoint="/elsewhere").mountpoint == mnt
    assert prepare(mountpoint=mnt).mountpoint == mnt
    assert prepare().mountpoint == str(tmp_path / "primary")


def test_a_relative_mountpoint_becomes_absolute(prepare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert prepare("mnt/").mountpoint == str(tmp_path / "mnt")


def test_others_are_let_in_by_root_alone_unless_said(prepare, tmp_path):
    assert prepare().allow_other is (os.geteuid() == 0)
    assert prepare(options=MountOptions(allow_other=False)).allow_other is False
    assert prepare(options=MountOptions(allow_other=True)).allow_other is True


def test_the_mount_table_shows_the_volumes_name(prepare):
    assert prepare().fsname == "pair"


def test_a_missing_leg_is_accepted_when_asked_for_or_when_the_settings_say_so(prepare):
    assert not prepare().is_degraded_ok
    assert prepare(options=MountOptions(is_degraded_ok=True)).is_degraded_ok
    assert prepare(degraded_start=True).is_degraded_ok


def test_a_mountpoint_that_is_no_directory_is_refused_with_what_to_do(prepare, tmp_path):
    with pytest.raises(MountError, match="mkdir -p"):
        prepare(str(tmp_path / "missing"))


@pytest.mark.parametrize("leg", ["primary", "secondary"])
def test_a_mountpoint_inside_a_leg_is_refused(prepare, tmp_path, leg):
    (tmp_path / leg / "inside").mkdir()
    with pytest.raises(UsageError, match="contain itself"):
        prepare(str(tmp_path / leg / "inside"))


def test_a_mountpoint_beside_a_leg_of_similar_name_is_fine(prepare, tmp_path):
    (tmp_path / "primary2").mkdir()
    assert prepare(str(tmp_path / "primary2")).mountpoint.endswith("primary2")


def test_a_mountpoint_that_is_no_utf8_is_refused(prepare):
    with pytest.raises(UsageError, match="UTF-8"):
        prepare("/caf\udce9")


def test_a_process_that_only_ends_is_waited_for(prepare, paths):
    holder = _hold(paths)
    # It lives on for a moment after the signal's arrival: the volume is not free at once.
    holder.send_signal(signal.SIGTERM)
    assert prepare().mountpoint
    holder.communicate()


def test_a_process_that_does_not_end_is_an_error(prepare, paths, monkeypatch):
    monkeypatch.setattr(mounting, "_DRAIN_PATIENCE_SECONDS", 0.1)
    holder = _hold(paths)
    try:
        with pytest.raises(AlreadyMountedError, match="twinfs status pair"):
            prepare()
        assert "waiting for it to end" in prepare.said[0]
    finally:
        holder.kill()
        holder.communicate()


@needs_root
def test_an_automount_point_over_the_primary_is_refused_instead_of_waiting_for_ever(prepare, workspace):
    read_end, write_end = os.pipe()
    options = f"fd={write_end},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct"
    command = ["mount", "-i", "-t", "autofs", "none", str(workspace), "-o", options]
    done = subprocess.run(command, pass_fds=[write_end], capture_output=True, check=False)
    if done.returncode != 0:
        os.close(read_end)
        os.close(write_end)
        pytest.skip(f"this kernel or container mounts no autofs: {done.stderr!r}")
    try:
        with pytest.raises(MountError, match=r"x-systemd\.automount"):
            prepare(primary=str(workspace))
    finally:
        run("umount", workspace)
        os.close(read_end)
        os.close(write_end)


def _hold(paths):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, paths.state_dir], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process
