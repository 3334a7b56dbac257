"""Making a volume out of two directories, and its settings again out of their labels."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from support.machine import needs_root
from twinfs.daemon import config
from twinfs.daemon.create import create_volume, name_from_path, recover_volume
from twinfs.errors import ConfigError, LegInUseError, UsageError, WrongDiskError
from unit.daemon.fakes import make_config, make_paths


@pytest.fixture
def paths(tmp_path):
    for leg in ("primary", "secondary", "third"):
        (tmp_path / leg).mkdir()
    return make_paths(tmp_path)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/mnt/hd1", "hd1"),
        ("/mnt/hd1/", "hd1"),
        ("/mnt/my disk (1)", "my-disk-1"),
        ("/mnt/.hidden", "hidden"),
        ("/mnt/größe", "gr-e"),
        ("/mnt/日本", "volume"),
        ("/", "volume"),
        ("/mnt/" + "x" * 99, "x" * 64),
    ],
)
def test_a_name_out_of_any_path_is_a_valid_name(path, name):
    assert name_from_path(path) == config.check_name(name)


def test_a_new_volume_is_labelled_and_its_settings_written(paths, tmp_path):
    made = create_volume(paths, make_config(tmp_path), adopt=False)
    assert config.load(paths, "pair") == made
    assert made.volume_id != make_config(tmp_path).volume_id
    assert all((tmp_path / leg / ".twinfs" / "label.json").exists() for leg in ("primary", "secondary"))


def test_a_configured_name_is_refused_before_anything_is_labelled(paths, tmp_path):
    config.save_new(paths, make_config(tmp_path))
    with pytest.raises(UsageError, match="configured already"):
        create_volume(paths, make_config(tmp_path), adopt=False)
    assert os.listdir(tmp_path / "primary") == []


def test_a_path_that_settings_cannot_hold_is_refused_before_anything_is_labelled(paths, tmp_path):
    odd = tmp_path / "caf\udce9"
    odd.mkdir()
    with pytest.raises(ConfigError, match="UTF-8"):
        create_volume(paths, replace(make_config(tmp_path), primary=str(odd)), adopt=False)
    assert os.listdir(odd) == []


@needs_root
def test_settings_that_cannot_be_written_are_refused_before_anything_is_labelled(paths, tmp_path):
    paths.state_dir.write_text("a file where the settings should be")
    broken = replace(paths, config_dir=paths.state_dir / "config")
    with pytest.raises(ConfigError, match="cannot be created"):
        create_volume(broken, make_config(tmp_path), adopt=False)
    assert os.listdir(tmp_path / "primary") == []


def test_a_secondary_with_files_needs_a_word(paths, tmp_path):
    (tmp_path / "secondary" / "file").touch()
    with pytest.raises(LegInUseError, match="--adopt"):
        create_volume(paths, make_config(tmp_path), adopt=False)
    assert config.list_names(paths) == []
    create_volume(paths, make_config(tmp_path), adopt=True)


def test_lost_settings_come_back_from_the_labels(paths, tmp_path):
    made = create_volume(paths, make_config(tmp_path), adopt=False)
    paths.config_file("pair").unlink()
    assert recover_volume(paths, made.primary, made.secondary) == made
    assert config.load(paths, "pair") == made


def test_directories_without_labels_are_no_lost_volume(paths, tmp_path):
    assert recover_volume(paths, str(tmp_path / "primary"), str(tmp_path / "secondary")) is None


@pytest.mark.parametrize(
    ("primary", "secondary"), [("primary", "third"), ("third", "secondary"), ("secondary", "primary")]
)
def test_labels_that_do_not_fit_together_are_refused(paths, tmp_path, primary, secondary):
    create_volume(paths, make_config(tmp_path), adopt=False)
    paths.config_file("pair").unlink()
    with pytest.raises(WrongDiskError):
        recover_volume(paths, str(tmp_path / primary), str(tmp_path / secondary))
    assert config.list_names(paths) == []


def test_legs_of_two_volumes_are_refused(paths, tmp_path):
    (tmp_path / "fourth").mkdir()
    create_volume(paths, make_config(tmp_path), adopt=False)
    other = replace(
        make_config(tmp_path, "other"), primary=str(tmp_path / "third"), secondary=str(tmp_path / "fourth")
    )
    create_volume(paths, other, adopt=False)
    with pytest.raises(WrongDiskError, match="not the two legs of one volume"):
        recover_volume(paths, str(tmp_path / "primary"), str(tmp_path / "fourth"))


def test_two_legs_on_one_disk_get_a_warning_and_are_made_all_the_same(paths, tmp_path):
    said: list[str] = []
    made = create_volume(paths, make_config(tmp_path), adopt=False, say=said.append)
    assert len(said) == 1
    assert "are on one file system: when that fails, both copies are gone" in said[0]
    assert config.load(paths, made.name) == made
