"""Reading and writing a volume's settings."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from twinfs.daemon import config
from twinfs.daemon.timing import Timing
from twinfs.errors import ConfigError, UnknownVolumeError, UsageError
from twinfs.model import Mode, ReadPolicy, VolumeConfig
from unit.daemon.fakes import make_config, make_paths


@pytest.fixture
def paths(tmp_path):
    return make_paths(tmp_path)


def write(paths, text, name="pair"):
    paths.config_dir.mkdir(exist_ok=True)
    paths.config_file(name).write_text(text)


MINIMAL = 'volume_id = "v"\nprimary = "/a"\nsecondary = "/b"\n'


def test_saved_settings_load_the_same(paths, tmp_path):
    settings = replace(
        make_config(tmp_path),
        mode=Mode.BATCHED,
        interval_seconds=120.0,
        at="03:30",
        mountpoint="/mnt/ö x",
        exclude=("*.tmp", '/"cache"/'),
        delete_excluded=True,
        degraded_start=True,
        on_event=("/opt/my hook", "--loud"),
        mail_to=("root", "me@example.org"),
        metrics_file="/var/lib/x/pair.prom",
        read_policy=ReadPolicy.STRIPE,
        secondary_sleeps=True,
        keep_versions_seconds=36 * 3600.0,
        keep_versions_size="50G",
    )
    config.save_new(paths, settings)
    assert config.load(paths, "pair") == settings


def test_what_is_not_said_has_its_default(paths):
    write(paths, MINIMAL)
    assert config.load(paths, "pair") == VolumeConfig("pair", "v", "/a", "/b")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('primry = "/x"', "unknown field 'primry'; did you mean 'primary'"),
        ("zzz = 1", "unknown field 'zzz'; known: volume_id"),
        ('mode = "fast"', "field 'mode': invalid enum value 'fast' .one of: sync, batched"),
        ('read_policy = "both"', "field 'read_policy': invalid .* .one of: primary, balance, stripe"),
        ("delete_excluded = 1", "field 'delete_excluded': expected `bool`, got `int`"),
        ('interval = "soon"', "interval: 'soon'"),
        ("interval = true", "field 'interval'"),
        ('at = "25:00"', "at: '25:00'"),
        ('mountpoint = "mnt"', "field 'mountpoint': 'mnt' is not an absolute path"),
        ('name = "other"', "field 'name' says 'other', the file's own name 'pair'"),
        ("mode = ", "not TOML"),
        ('on_event = ""', "field 'on_event' names no program"),
        ("on_event = 3", "field 'on_event'"),
        ('mail_to = "me@example.org you@example.org"', "field 'mail_to': .* is not a mail address"),
        ('metrics_file = "x.prom"', "field 'metrics_file': 'x.prom' is not an absolute path"),
        ('metrics_file = "/a/x.prom"', "field 'metrics_file': '/a/x.prom' lies inside /a"),
        ("exclude = [1]", r"field 'exclude\[0\]'"),
    ],
)
def test_an_error_names_the_file_and_the_field(paths, line, message):
    write(paths, MINIMAL + line + "\n")
    with pytest.raises(ConfigError, match=f"pair.toml: .*{message}"):
        config.load(paths, "pair")


def test_who_is_to_be_told_may_be_said_as_text(paths):
    write(paths, MINIMAL + 'on_event = "notify \'a b\'"\nmail_to = "root, me@example.org"\n')
    read = config.load(paths, "pair")
    assert (read.on_event, read.mail_to) == (("notify", "a b"), ("root", "me@example.org"))


def test_a_missing_field_is_named(paths):
    write(paths, 'volume_id = "v"\n')
    with pytest.raises(ConfigError, match="missing required field `primary`"):
        config.load(paths, "pair")


def test_an_unknown_volume_is_answered_with_the_nearest_name(paths):
    with pytest.raises(UnknownVolumeError, match="begin with twinfs init"):
        config.load(paths, "photos")
    write(paths, MINIMAL, "photos")
    with pytest.raises(UnknownVolumeError, match="did you mean photos"):
        config.load(paths, "fotos")
    with pytest.raises(UnknownVolumeError, match="configured: photos"):
        config.load(paths, "zzz")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "-x", "a b", "x" * 65, "ä"])
def test_a_name_that_cannot_be_a_file_is_refused(paths, name):
    with pytest.raises(UsageError, match="cannot be a volume's name"):
        config.load(paths, name)


def test_names_are_listed_sorted_and_other_files_ignored(paths):
    assert config.list_names(paths) == []
    for name in ("b", "a"):
        write(paths, MINIMAL, name)
    (paths.config_dir / ".c.toml").touch()
    (paths.config_dir / "notes.txt").touch()
    assert config.list_names(paths) == ["a", "b"]


def test_settings_are_never_written_over_others(paths, tmp_path):
    config.save_new(paths, make_config(tmp_path))
    with pytest.raises(UsageError, match="configured already"):
        config.save_new(paths, make_config(tmp_path))


def test_a_failed_write_leaves_the_old_settings(paths, monkeypatch):
    write(paths, MINIMAL)

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(ConfigError, match="cannot be written: No space left"):
        config.change_mode(paths, "pair", Timing(Mode.BATCHED))
    assert paths.config_file("pair").read_text() == MINIMAL


def test_changing_the_mode_keeps_comments_and_can_be_taken_back(paths):
    text = MINIMAL + '# every night\nmode = "batched"\nat = "03:30"\n'
    write(paths, text)
    before = config.change_mode(paths, "pair", Timing(Mode.BATCHED, interval_seconds=5.0))
    changed = config.load(paths, "pair")
    assert (changed.mode, changed.interval_seconds, changed.at) == (Mode.BATCHED, 5.0, None)
    assert "# every night" in paths.config_file("pair").read_text()
    config.restore(paths, "pair", before)
    assert paths.config_file("pair").read_text() == text


def test_sync_keeps_the_clock_for_the_next_change_back(paths):
    write(paths, MINIMAL + 'mode = "batched"\nat = "03:30"\n')
    config.change_mode(paths, "pair", Timing(Mode.SYNC))
    assert config.load(paths, "pair").at == "03:30"
