"""The units: systemd understands them, and they find the volume's files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.machine import run, tool
from twinfs.daemon.systemd import SERVICE, TIMER, schedule, unit_directory, write_templates
from twinfs.errors import ConfigError
from unit.daemon.fakes import make_paths


def test_systemd_finds_no_fault_in_them(tmp_path):
    write_templates(tmp_path, sys.executable)
    done = run(tool("systemd-analyze", "systemd"), "verify", "--man=no", tmp_path / SERVICE, tmp_path / TIMER)
    assert done.stdout + done.stderr == ""


def test_the_timer_is_monthly_random_and_catches_up_and_the_service_idle(tmp_path):
    service, timer = (path.read_text() for path in write_templates(tmp_path, "/usr/local/bin/twinfs"))
    assert "ExecStart=/usr/local/bin/twinfs scrub %i --plan full --if-due 3w\n" in service
    assert "IOSchedulingClass=idle" in service
    for line in ("OnCalendar=monthly", "RandomizedDelaySec=6h", "Persistent=true"):
        assert line in timer


def test_a_program_with_a_space_and_a_percent_sign_is_quoted(tmp_path):
    service, _ = (path.read_text() for path in write_templates(tmp_path, "/opt/my 100%/twinfs"))
    assert 'ExecStart="/opt/my 100%%/twinfs" scrub' in service


def test_a_volume_gets_its_timer_and_its_directories(tmp_path):
    said = []
    schedule(make_paths(tmp_path), "photos", said.append, tmp_path / "units")
    drop_in = tmp_path / "units/twinfs-scrub@photos.service.d/paths.conf"
    assert f'Environment="TWINFS_STATE_DIR={tmp_path}/state"' in drop_in.read_text()
    assert "enable --now twinfs-scrub@photos.timer" in said[0]
    assert "scrub_at" in said[0]


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file/units"):
        write_templates(tmp_path / "file/units", "/bin/true")


def test_users_have_units_of_their_own():
    assert unit_directory({}, is_root=True) == Path("/etc/systemd/system")
    assert unit_directory({"HOME": "/home/me"}, is_root=False) == Path("/home/me/.config/systemd/user")
    assert unit_directory({"XDG_CONFIG_HOME": "/c"}, is_root=False) == Path("/c/systemd/user")


def test_the_installer_writes_them(tmp_path):
    command = [sys.executable, "-m", "twinfs.daemon.systemd", str(tmp_path), "/usr/local/bin/twinfs"]
    subprocess.run(command, check=True)
    assert {path.name for path in tmp_path.iterdir()} == {SERVICE, TIMER}
