"""Where twinfs keeps its files."""

from __future__ import annotations

import stat
from pathlib import Path

from twinfs.daemon.paths import Paths, resolve


def test_root_has_the_system_directories():
    assert resolve(None, None, {}, is_root=True) == Paths(
        Path("/etc/twinfs"), Path("/var/lib/twinfs"), Path("/run/twinfs")
    )


def test_a_user_has_the_xdg_directories():
    environ = {"HOME": "/home/u", "XDG_RUNTIME_DIR": "/run/user/7"}
    assert resolve(None, None, environ, is_root=False) == Paths(
        Path("/home/u/.config/twinfs"), Path("/home/u/.local/state/twinfs"), Path("/run/user/7/twinfs")
    )


def test_a_user_without_a_session_has_sockets_beside_the_state():
    environ = {"HOME": "/home/u", "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c"}
    assert resolve(None, None, environ, is_root=False) == Paths(
        Path("/c/twinfs"), Path("/s/twinfs"), Path("/s/twinfs/run")
    )


def test_the_option_wins_over_the_environment():
    environ = {"TWINFS_CONFIG_DIR": "/ec", "TWINFS_STATE_DIR": "/es", "TWINFS_RUN_DIR": "/er"}
    assert resolve(None, None, environ, is_root=True) == Paths(Path("/ec"), Path("/es"), Path("/er"))
    assert resolve(Path("/oc"), Path("/os"), environ, is_root=True) == Paths(
        Path("/oc"), Path("/os"), Path("/er")
    )


def test_sockets_follow_a_state_directory_that_was_moved():
    assert resolve(None, Path("/moved"), {}, is_root=True).run_dir == Path("/moved/run")


def test_relative_directories_become_absolute_because_the_daemon_changes_to_the_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve(Path("c"), Path("s"), {}, is_root=True) == Paths(
        tmp_path / "c", tmp_path / "s", tmp_path / "s" / "run"
    )


def test_an_empty_variable_is_no_directory():
    assert resolve(None, None, {"TWINFS_STATE_DIR": ""}, is_root=True).state_dir == Path("/var/lib/twinfs")


def test_a_volumes_directory_is_for_its_owner_only(tmp_path):
    paths = Paths(tmp_path / "c", tmp_path / "deep" / "s", tmp_path / "r")
    directory = paths.make_volume_dir("photos")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert paths.lock_file("photos").parent == directory
