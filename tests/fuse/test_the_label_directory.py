"""`.twinfs` at a leg's root belongs to twinfs: it is not in the volume, and nobody can put one there.

What the volume has under that name is another directory, see test_the_volumes_own_directory.py.
"""

from __future__ import annotations

import os
from pathlib import Path

from support.machine import outcome
from support.volume import Volume


def labels(volume: Volume) -> list[bytes]:
    return [(leg / ".twinfs/label.json").read_bytes() for leg in (volume.primary, volume.secondary)]


def test_it_is_not_listed(volume: Volume) -> None:
    (volume.mount / "file").touch()
    assert os.listdir(volume.mount) == ["file"]
    with os.scandir(volume.mount) as entries:
        assert [entry.name for entry in entries] == ["file"]
    assert (volume.primary / ".twinfs").is_dir()


def test_the_label_is_not_reached_through_the_volume(volume: Volume) -> None:
    for name in ("label.json", "tmp", "quarantine"):
        assert outcome(os.open, volume.mount / ".twinfs" / name, os.O_RDONLY)[0] in (
            "ENOENT",
            "EACCES",
            "EPERM",
        )


def test_nothing_of_that_name_is_made_at_the_root(volume: Volume) -> None:
    before = labels(volume)
    mount: Path = volume.mount
    ours = mount / ".twinfs"
    (mount / "file").write_text("x")
    (mount / "dir").mkdir()
    answers = [
        outcome(os.mkdir, ours),
        outcome(os.open, ours, os.O_CREAT | os.O_WRONLY),
        outcome(os.open, ours, os.O_CREAT | os.O_EXCL | os.O_WRONLY),
        outcome(os.symlink, "x", ours),
        outcome(os.mkfifo, ours),
        outcome(os.link, mount / "file", ours),
        outcome(os.rename, mount / "file", ours),
        outcome(os.rename, mount / "dir", ours),
        outcome(os.mkdir, ours / "below"),
        outcome(os.open, ours / "below", os.O_CREAT | os.O_WRONLY),
        outcome(os.rename, mount / "file", ours / "file"),
    ]
    assert "ok" not in [answer for answer, _ in answers]
    assert sorted(os.listdir(mount)) == ["dir", "file"]
    volume.assert_legs_equal()
    assert [label.count(b"volume_id") for label in labels(volume)] == [1, 1]
    assert len(before) == 2


def test_it_is_not_removed_renamed_or_changed(volume: Volume) -> None:
    ours = volume.mount / ".twinfs"
    answers = [
        outcome(os.rmdir, ours),
        outcome(os.unlink, ours),
        outcome(os.unlink, ours / "label.json"),
        outcome(os.rename, ours, volume.mount / "taken"),
        outcome(os.chmod, ours, 0o777),
        outcome(os.chmod, ours / "label.json", 0),
        outcome(os.setxattr, ours, "user.x", b"x"),
    ]
    assert "ok" not in [answer for answer, _ in answers]
    assert all(b"volume_id" in label for label in labels(volume))


def test_elsewhere_the_name_is_an_ordinary_one(volume: Volume) -> None:
    (volume.mount / "dir/.twinfs").mkdir(parents=True)
    (volume.mount / "dir/.twinfs/label.json").write_text("a user's own")
    (volume.mount / ".twinfs2").write_text("x")
    (volume.mount / "x.twinfs").write_text("x")
    assert os.listdir(volume.mount / "dir") == [".twinfs"]
    volume.assert_legs_equal()
    assert (volume.secondary / "dir/.twinfs/label.json").read_text() == "a user's own"


def test_a_volume_that_looks_empty_can_be_emptied_with_rm(volume: Volume) -> None:
    (volume.mount / "dir/sub").mkdir(parents=True)
    (volume.mount / ".hidden").touch()
    for path in sorted(volume.mount.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert os.listdir(volume.mount) == []
    volume.assert_legs_equal()
