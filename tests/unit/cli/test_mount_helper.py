"""The helpers of mount(8) and umount(8), as far as they go without a mount."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from twinfs.cli import mount_helper
from twinfs.cli.mount_helper import MountExit, parse_call, volume_for
from twinfs.daemon import config
from twinfs.daemon.options import MountOptions
from twinfs.errors import UsageError, WrongDiskError


def with_secondary(path):
    return MountOptions(secondary=str(path))


@pytest.mark.parametrize(
    "arguments",
    [
        ["src", "/dst", "-o", "rw,noexec", "-o", "degraded"],
        ["-v", "-s", "-o", "noexec,degraded", "src", "/dst"],
        ["src", "-n", "/dst", "-orw,noexec,degraded", "-t", "fuse.twinfs"],
    ],
)
def test_options_may_stand_anywhere(arguments):
    call = parse_call(arguments)
    assert (call.source, call.mountpoint, call.is_fake) == ("src", "/dst", False)
    assert call.options == MountOptions(is_degraded_ok=True, flags=("noexec",))


@pytest.mark.parametrize("arguments", [[], ["src"], ["a", "b", "c"], ["a", "b", "-Z"], ["a", "b", "-oro"]])
def test_a_wrong_call_is_a_usage_error_in_mounts_code(arguments, capsys):
    assert mount_helper.mount(arguments) is MountExit.USAGE
    assert capsys.readouterr().err.startswith("mount.fuse.twinfs: ")


def test_a_name_is_a_configured_volume(cli):
    cli.init()
    assert volume_for(cli.paths, "pair", MountOptions()).name == "pair"


def test_a_path_is_a_configured_volumes_primary(cli):
    cli.init()
    assert volume_for(cli.paths, f"{cli.primary}/", with_secondary(cli.secondary)).name == "pair"


def test_a_secondary_other_than_the_settings_is_refused(cli):
    cli.init()
    with pytest.raises(UsageError, match="has its secondary at"):
        volume_for(cli.paths, str(cli.primary), with_secondary("/elsewhere"))


def test_a_line_with_two_fresh_directories_makes_a_volume_once(cli):
    (cli.primary / "file").write_text("kept")
    (cli.secondary / "lost+found").mkdir()
    made = volume_for(cli.paths, str(cli.primary), with_secondary(cli.secondary))
    assert made.name == "primary"
    assert volume_for(cli.paths, str(cli.primary), with_secondary(cli.secondary)) == made
    assert (cli.primary / "file").read_text() == "kept"


def test_a_name_that_is_taken_is_made_longer(cli):
    elsewhere = cli.base / "elsewhere" / "primary"
    elsewhere.mkdir(parents=True)
    (cli.base / "second").mkdir()
    volume_for(cli.paths, str(cli.primary), with_secondary(cli.secondary))
    made = volume_for(cli.paths, str(elsewhere), with_secondary(cli.base / "second"))
    assert made.name == "elsewhere-primary"


def test_a_secondary_with_files_is_never_taken_over_at_boot(cli):
    (cli.secondary / "theirs").touch()
    with pytest.raises(UsageError, match="--adopt"):
        volume_for(cli.paths, str(cli.primary), with_secondary(cli.secondary))
    assert config.list_names(cli.paths) == []
    assert not (cli.primary / ".twinfs").exists()


def test_a_path_without_a_secondary_is_refused_with_what_to_do(cli):
    with pytest.raises(UsageError, match="secondary=DIR"):
        volume_for(cli.paths, str(cli.primary), MountOptions())


def test_lost_settings_come_back_from_the_labels(cli):
    cli.init()
    before = config.load(cli.paths, "pair")
    cli.paths.config_file("pair").unlink()
    assert volume_for(cli.paths, str(cli.primary), with_secondary(cli.secondary)) == before


def test_a_labelled_primary_beside_an_empty_directory_is_an_unmounted_disk(cli):
    cli.init()
    cli.paths.config_file("pair").unlink()
    (cli.base / "empty").mkdir()
    with pytest.raises(WrongDiskError, match="is its disk mounted"):
        volume_for(cli.paths, str(cli.primary), with_secondary(cli.base / "empty"))


@pytest.mark.parametrize("name", ["mount.fuse.twinfs", "umount.fuse.twinfs"])
def test_twinfs_is_its_own_helper_when_called_by_that_name_without_any_environment(tmp_path, name):
    script = Path(sys.executable).with_name("twinfs")
    (tmp_path / name).symlink_to(script)
    done = subprocess.run([tmp_path / name], env={}, capture_output=True, text=True, check=False)
    assert done.returncode == MountExit.USAGE
    assert done.stderr.startswith(f"{name}: usage: {name} ")


def test_umount_of_what_is_no_volume_is_a_mount_failure(tmp_path, capsys):
    assert mount_helper.umount([str(tmp_path)]) is MountExit.FAILURE
    assert "no volume is mounted there" in capsys.readouterr().err


def test_an_interrupt_has_mounts_own_code(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(mount_helper, "parse_call", interrupt)
    assert mount_helper.mount([]) is MountExit.INTERRUPTED
