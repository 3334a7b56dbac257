"""What was put aside is listed, comes back, and goes only when it is told to."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from support.machine import NOBODY_UID, needs_root
from support.volume import Volume, as_user_prefix, wait_until

OLD_NS = 1_400_000_000 * 10**9 + 123_456_789


def furnish(secondary: Path) -> None:
    """A mirror that has what the primary has not."""
    (secondary / "album/2019").mkdir(parents=True)
    for number in range(3):
        (secondary / f"album/2019/{number}.jpg").write_bytes(b"%d" % number * 1000)
    os.link(secondary / "album/2019/0.jpg", secondary / "album/cover.jpg")
    (secondary / "album/link").symlink_to("2019/0.jpg")
    (secondary / "docs").mkdir()
    (secondary / "docs" / os.fsdecode(b"n\xf6te")).write_text("note")
    (secondary / "docs/same").write_text("the mirror's")
    os.utime(secondary / "album/2019/1.jpg", ns=(OLD_NS, OLD_NS))
    (secondary / "album/2019/1.jpg").chmod(0o640)


@pytest.fixture
def prefix() -> tuple[str, ...]:
    return ()


@pytest.fixture
def volume(new_volume: Any, prefix: tuple[str, ...]) -> Volume:
    """An adopted volume, not mounted."""
    adopted: Volume = new_volume("sync", command_prefix=prefix)
    (adopted.primary / "docs").mkdir()
    (adopted.primary / "docs/same").write_text("the primary's, longer")
    furnish(adopted.secondary)
    if prefix:
        top = adopted.secondary.parent
        for path in [top, *top.rglob("*")]:
            os.chown(path, NOBODY_UID, NOBODY_UID, follow_symlinks=False)
    return adopted.init("--adopt")


def listed(volume: Volume) -> dict[str, dict[str, Any]]:
    done = volume.twinfs("quarantine", volume.name, "--json")
    return {line["path"]: line for line in map(json.loads, done.stdout.splitlines())}


def sizes(volume: Volume) -> dict[str, Any]:
    found: dict[str, Any] = volume.status()["quarantine"]
    return found


def restore(volume: Volume, what: str, to: Path, *, code: int = 0) -> str:
    done = volume.twinfs("quarantine", volume.name, "--restore", what, "--to", to, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("is_mounted", (False, True), ids=("unmounted", "mounted"))
@pytest.mark.parametrize(
    "prefix", ((), pytest.param(as_user_prefix(NOBODY_UID), marks=needs_root)), ids=("own", "user")
)
def test_everything_put_aside_is_listed_and_comes_back(
    volume: Volume, is_mounted: bool, prefix: tuple[str, ...], workspace: Path, open_fuse_device: None
) -> None:
    furnish(workspace / "model")
    if is_mounted:
        volume.mount_it()
    found = listed(volume)
    assert set(found) == {"album", "docs/n\\xf6te"}
    album = found["album"]
    assert (album["type"], album["leg"], album["kind"]) == ("quarantined", "secondary", "directory")
    assert (album["why"], album["size_bytes"]) == ("only this leg had it", 4000)
    assert abs(album["time"] - time.time()) < 300
    out = volume.mount if is_mounted else make_for(prefix, workspace / "out")
    restore(volume, "album", out)
    assert set(listed(volume)) == set(found), "it stays in quarantine"
    if is_mounted:
        volume.umount()
        out = volume.primary
    assert without_owner(workspace / "model/album") == without_owner(out / "album")
    assert (out / "album/cover.jpg").samefile(out / "album/2019/0.jpg")
    assert (out / "album/2019/1.jpg").stat().st_mtime_ns == OLD_NS
    assert (out / "album").stat().st_uid == (NOBODY_UID if prefix else os.geteuid())
    volume.assert_rsync_finds_nothing()


def make_for(prefix: tuple[str, ...], directory: Path) -> Path:
    directory.mkdir()
    if prefix:
        os.chown(directory, NOBODY_UID, NOBODY_UID)
    return directory


def without_owner(top: Path) -> dict[str, object]:
    return {
        path.relative_to(top).as_posix(): (
            path.lstat().st_mode,
            os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None,
        )
        for path in top.rglob("*")
    }


def test_one_thing_out_of_a_directory_comes_back_under_another_name(volume: Volume, workspace: Path) -> None:
    restore(volume, "album/2019/2.jpg", workspace / "two.jpg")
    assert (workspace / "two.jpg").read_bytes() == b"2" * 1000
    restore(volume, listed(volume)["album"]["id"] + "/2019", workspace / "year")
    assert sorted(os.listdir(workspace / "year")) == ["0.jpg", "1.jpg", "2.jpg"]


def test_nothing_that_is_there_is_ever_replaced(volume: Volume, workspace: Path) -> None:
    (workspace / "album").mkdir()
    (workspace / "album/mine").write_text("mine")
    said = restore(volume, "album", workspace, code=1)
    assert "nothing was copied" in said and "album" in said
    assert os.listdir(workspace / "album") == ["mine"]
    (workspace / "file").write_text("mine")
    restore(volume, "album/cover.jpg", workspace / "file", code=1)
    assert (workspace / "file").read_text() == "mine"
    assert not list(workspace.glob(".twinfs-restore-*"))


def test_a_leg_itself_is_no_place_to_copy_to(volume: Volume) -> None:
    for leg in (volume.primary, volume.secondary):
        (leg / "docs").mkdir(exist_ok=True)
        for place in (leg, leg / "docs", leg / "docs/new"):
            assert "leg itself" in restore(volume, "album", place, code=2)
        assert not list(leg.rglob("*.jpg")) or leg == volume.secondary
    volume.mount_it()
    assert "leg itself" in restore(volume, "album", volume.secondary / "docs", code=2)
    restore(volume, "album", volume.mount / "docs")


def test_what_is_not_in_quarantine_is_said(volume: Volume, workspace: Path) -> None:
    assert "not in quarantine" in restore(volume, "albu", workspace / "x", code=1)
    assert "not in quarantine" in restore(volume, "album/none", workspace / "x", code=1)


def put_aside_again(volume: Volume, content: str) -> None:
    """Something else at a place that is in quarantine already, found by a comparison."""
    (volume.secondary / "album").write_text(content)
    volume.twinfs("rebuild", volume.name)


def test_of_several_at_one_place_none_is_guessed(volume: Volume, workspace: Path) -> None:
    volume.mount_it()
    put_aside_again(volume, "another")
    said = restore(volume, "album", workspace / "x", code=1)
    ids = [line.strip() for line in said.splitlines() if line.startswith("    ")]
    assert len(ids) == 2
    text = volume.twinfs("quarantine", volume.name).stdout
    assert all(f"id {each}" in text for each in ids)
    restore(volume, ids[1], workspace / "x")
    assert (workspace / "x").read_text() == "another"


def test_a_purge_takes_what_is_old_enough_and_shows_it_first(volume: Volume) -> None:
    volume.mount_it()
    put_aside_again(volume, "another")
    before = set(listed(volume))
    for words, said in (
        (("--purge",), "--older-than"),
        (("--older-than", "1d"), "--purge"),
        (("--purge", "--older-than", "soon"), "age"),
        (("--purge", "--older-than", "1d", "--restore", "album"), "either"),
        (("--restore", "album"), "--to"),
    ):
        done = volume.twinfs("quarantine", volume.name, *words, check=False)
        assert done.returncode == 2 and said in done.stderr
    done = volume.twinfs("quarantine", volume.name, "--purge", "--older-than", "1h")
    assert "0 objects" in done.stdout
    done = volume.twinfs("quarantine", volume.name, "--purge", "--older-than", "0d", "--dry-run", "--json")
    assert [json.loads(line)["type"] for line in done.stdout.splitlines()] == [*["quarantined"] * 3, "purged"]
    assert set(listed(volume)) == before
    done = volume.twinfs("quarantine", volume.name, "--purge", "--older-than", "0d", "--json")
    assert json.loads(done.stdout) == {"type": "purged", "objects": 3, "bytes": 4011, "is_dry_run": False}
    assert listed(volume) == {}
    assert os.listdir(volume.secondary / ".twinfs/quarantine") == []
    assert os.listdir(volume.secondary / ".twinfs/tmp") == []
    volume.assert_legs_equal()


def test_status_says_how_much_there_is(volume: Volume) -> None:
    assert sizes(volume)["objects"] == 2
    assert abs(sizes(volume)["since"] - time.time()) < 300
    volume.mount_it()
    wait_until(lambda: sizes(volume)["bytes"] == 4004, 20, f"not measured: {sizes(volume)}")
    assert "2 objects" in volume.twinfs("status", volume.name).stdout
    put_aside_again(volume, "another")
    wait_until(lambda: sizes(volume)["bytes"] == 4011, 20, f"not noticed: {sizes(volume)}")
    volume.umount()
    assert sizes(volume)["bytes"] == 4011, "measured once, known ever after"
    volume.twinfs("quarantine", volume.name, "--purge", "--older-than", "0d")
    assert sizes(volume) == {"objects": 0, "bytes": 0, "since": None}
    assert "quarantine" not in volume.twinfs("status", volume.name, check=False).stdout


def test_a_repair_of_the_primary_is_listed_with_its_leg(volume: Volume) -> None:
    (volume.primary / "docs/same").write_text("the primary's, LONGER")
    volume.twinfs("scrub", volume.name, "--repair", "--prefer", "secondary", check=False)
    found = listed(volume)["docs/same"]
    assert (found["leg"], found["kind"], found["size_bytes"]) == ("primary", "file", 21)
    assert "content" in found["why"]


def test_a_leg_that_is_away_is_named_and_the_other_one_listed(volume: Volume) -> None:
    (volume.primary / ".twinfs/label.json").rename(volume.primary / "label")
    done = volume.twinfs("quarantine", volume.name)
    assert "the primary is not there" in done.stderr
    assert "album/" in done.stdout
