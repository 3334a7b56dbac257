"""Restoring while the brake holds: what was deleted is no version yet, it is still on the secondary."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from support import tree
from support.volume import Volume
from twinfs.daemon import mounting, reach, unmounting
from twinfs.daemon.paths import Paths
from twinfs.errors import BusyError
from twinfs.model import VolumeConfig


@pytest.fixture
def held(new_volume) -> tuple[Volume, tree.Tree]:
    """All was deleted, the brake held, and the volume was unmounted; and what there was."""
    volume: Volume = new_volume("batched", interval="1h").init()
    text = volume.config_file.read_text().splitlines()
    volume.config_file.write_text("".join(f"{line}\n" for line in text if "keep_versions" not in line))
    volume.configure('max_delete = "50%"', 'keep_versions = "30d"')
    volume.mount_it()
    volume.tolerated.append("--allow-deletes")
    (volume.mount / "docs").mkdir()
    for number in range(10):
        (volume.mount / f"docs/file{number}").write_bytes(b"first %d" % number)
    volume.sync()
    (volume.mount / "docs/file0").write_bytes(b"second")
    volume.sync()
    before = tree.snapshot(volume.mount / "docs")
    shutil.rmtree(volume.mount / "docs")
    assert volume.twinfs("umount", volume.name, check=False).returncode == 1
    volume.wait_until_dead()
    return volume, before


def let_through(volume: Volume) -> None:
    volume.twinfs("sync", volume.name, "--allow-deletes")
    assert volume.status()["state"] == "clean"
    tree.assert_same(volume.primary, volume.secondary)


def test_a_volume_that_is_not_mounted_gives_everything_back(held):
    volume, before = held
    listed = volume.twinfs("versions", volume.name)
    assert "changes wait for the secondary" in listed.stderr
    assert "is no version yet" in listed.stderr
    done = volume.twinfs("restore", volume.name, "docs")
    assert "restored 11 objects" in done.stdout
    assert "--allow-deletes" in done.stderr
    assert tree.differences(before, tree.snapshot(volume.primary / "docs")) == []
    let_through(volume)
    assert tree.differences(before, tree.snapshot(volume.primary / "docs")) == []


def test_one_file_comes_back_as_it_was_last_and_others_stay_deleted(held):
    volume, _ = held
    done = volume.twinfs("restore", volume.name, "docs/file0")
    assert "restored" in done.stdout
    assert (volume.primary / "docs/file0").read_bytes() == b"second"
    assert os.listdir(volume.primary / "docs") == ["file0"]
    let_through(volume)
    assert os.listdir(volume.secondary / "docs") == ["file0"]
    volume.twinfs("restore", volume.name, "docs/file7")
    assert (volume.primary / "docs/file7").read_bytes() == b"first 7"
    tree.assert_same(volume.primary, volume.secondary)


def test_it_can_be_looked_at_elsewhere_and_nothing_is_changed(held, tmp_path):
    volume, before = held
    volume.twinfs("restore", volume.name, "docs", "--to", tmp_path / "then")
    assert tree.differences(before, tree.snapshot(tmp_path / "then")) == []
    assert (os.listdir(volume.primary), len(os.listdir(volume.secondary / "docs"))) == ([".twinfs"], 10)


def test_a_mounted_one_gives_it_back_too(held):
    volume, before = held
    volume.mount_it()
    done = volume.twinfs("restore", volume.name, "docs")
    assert "--allow-deletes" in done.stderr
    assert tree.differences(before, tree.snapshot(volume.mount / "docs")) == []
    volume.twinfs("sync", volume.name, "--allow-deletes")
    volume.assert_legs_equal()


def test_what_cannot_be_unmounted_after_a_restore_keeps_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is still mounted at the private place are people's files, not a temporary directory's."""
    monkeypatch.setattr(mounting, "prepare", lambda paths, volume, place, options, *, say: place)
    monkeypatch.setattr(mounting, "start", lambda paths, place, *, say: (Path(place) / "precious").touch())

    def busy(*arguments: object, **named: object) -> None:
        raise BusyError("somebody is in there")

    monkeypatch.setattr(unmounting, "unmount", busy)
    said: list[str] = []
    paths = Paths(tmp_path, tmp_path, tmp_path)
    with reach.mounted(paths, VolumeConfig("pair", "id", "/a", "/b"), said.append) as place:
        assert (Path(place) / "precious").exists()
    try:
        assert (Path(place) / "precious").exists()
        assert said == ["after the restore: somebody is in there"]
    finally:
        shutil.rmtree(place)
