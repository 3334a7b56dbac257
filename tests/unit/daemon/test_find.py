"""From a path to a configured volume."""

from __future__ import annotations

from dataclasses import replace

import pytest

from twinfs.daemon import config, find
from unit.daemon.fakes import make_config, make_paths


@pytest.fixture
def paths(tmp_path):
    paths = make_paths(tmp_path)
    (tmp_path / "primary").mkdir()
    config.save_new(paths, make_config(tmp_path))
    return paths


def test_a_volume_is_found_by_its_primary_however_the_path_is_written(paths, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    for written in ("primary", "primary/", "./primary", "link/primary"):
        found = find.by_primary(paths, f"{tmp_path}/{written}")
        assert found is not None, written
        assert found.name == "pair"


def test_an_unknown_path_finds_nothing(paths, tmp_path):
    assert find.by_primary(paths, str(tmp_path / "secondary")) is None


def test_the_default_mountpoint_is_the_primary(tmp_path):
    settings = make_config(tmp_path)
    assert find.default_mountpoint(settings) == settings.primary
    assert find.default_mountpoint(replace(settings, mountpoint="/srv")) == "/srv"


def test_one_broken_file_does_not_hide_the_other_volumes(paths, tmp_path):
    paths.config_file("broken").write_text("nonsense")
    found = find.by_primary(paths, str(tmp_path / "primary"))
    assert found is not None


def test_the_last_component_is_not_looked_at(tmp_path):
    (tmp_path / "link").symlink_to("elsewhere")
    assert find.canonical(f"{tmp_path}/./link") == f"{tmp_path}/link"
