"""Excluded paths live on the primary only, whatever is renamed across the boundary."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support import tree
from support.machine import run, tool
from support.volume import Volume

_PATTERNS = 'exclude = ["*.tmp", "/cache/", "build/", "!keep.tmp"]'


@pytest.fixture(params=("sync", "batched"))
def excluding(new_volume, request: pytest.FixtureRequest) -> Volume:
    volume: Volume = new_volume(request.param).init()
    volume.configure(_PATTERNS)
    return volume.mount_it()


def on_secondary(volume: Volume) -> set[str]:
    volume.sync()
    found = {str(path.relative_to(volume.secondary)) for path in volume.secondary.rglob("*")}
    return {name for name in found if not name.startswith(".twinfs")}


def on_primary(volume: Volume) -> set[str]:
    found = {str(path.relative_to(volume.primary)) for path in volume.primary.rglob("*")}
    return {name for name in found if not name.startswith(".twinfs")}


def test_excluded_paths_are_on_the_primary_only(excluding: Volume) -> None:
    volume = excluding
    for name in ("cache", "src", "src/build", "src/cache"):
        (volume.mount / name).mkdir()
    for name in ("a.tmp", "keep.tmp", "cache/x", "src/b.tmp", "src/file", "src/build/out", "src/cache/y"):
        (volume.mount / name).write_text(name)
    assert on_secondary(volume) == {"keep.tmp", "src", "src/file", "src/cache", "src/cache/y"}
    assert (volume.mount / "cache/x").read_text() == "cache/x"
    assert on_primary(volume) > on_secondary(volume)
    rsync = (tool("rsync", "rsync"), "-aHAXnic", "--delete", "--exclude=/.twinfs")
    rules = ("--include=keep.tmp", "--exclude=*.tmp", "--exclude=/cache/", "--exclude=build/")
    assert run(*rsync, *rules, f"{volume.primary}/", f"{volume.secondary}/").stdout == ""


def test_a_rename_out_of_the_excluded_brings_the_file_to_the_secondary(excluding: Volume) -> None:
    """Browsers and editors write name.tmp and rename it."""
    volume = excluding
    (volume.mount / "download.tmp").write_bytes(b"content" * 10_000)
    os.chmod(volume.mount / "download.tmp", 0o604)
    assert on_secondary(volume) == set()
    os.rename(volume.mount / "download.tmp", volume.mount / "download")
    assert on_secondary(volume) == {"download"}
    assert (volume.secondary / "download").read_bytes() == b"content" * 10_000
    assert (volume.secondary / "download").stat().st_mode & 0o777 == 0o604


def test_a_rename_into_the_excluded_takes_the_file_off_the_secondary(excluding: Volume) -> None:
    volume = excluding
    (volume.mount / "file").write_text("x")
    assert on_secondary(volume) == {"file"}
    os.rename(volume.mount / "file", volume.mount / "file.tmp")
    assert on_secondary(volume) == set()
    assert (volume.mount / "file.tmp").read_text() == "x"


def test_a_directory_renamed_across_the_boundary_goes_with_all_it_holds(excluding: Volume) -> None:
    volume = excluding
    (volume.mount / "dir/sub").mkdir(parents=True)
    (volume.mount / "dir/sub/file").write_text("x")
    (volume.mount / "dir/y.tmp").write_text("never mirrored")
    os.rename(volume.mount / "dir", volume.mount / "cache")
    assert on_secondary(volume) == set()
    os.rename(volume.mount / "cache", volume.mount / "back")
    assert on_secondary(volume) == {"back", "back/sub", "back/sub/file"}
    tree.assert_same(volume.primary / "back/sub", volume.secondary / "back/sub")


def test_an_excluded_file_renamed_over_an_included_one_replaces_it(excluding: Volume) -> None:
    volume = excluding
    (volume.mount / "letter").write_text("old")
    volume.sync()
    (volume.mount / "letter.tmp").write_text("new")
    os.rename(volume.mount / "letter.tmp", volume.mount / "letter")
    assert on_secondary(volume) == {"letter"}
    assert (volume.secondary / "letter").read_text() == "new"


def test_hard_links_across_the_boundary(excluding: Volume) -> None:
    volume = excluding
    (volume.mount / "a.tmp").write_text("one inode")
    os.link(volume.mount / "a.tmp", volume.mount / "a")
    os.link(volume.mount / "a", volume.mount / "b")
    assert on_secondary(volume) == {"a", "b"}
    (volume.mount / "a.tmp").write_text("changed under its excluded name")
    assert on_secondary(volume) == {"a", "b"}
    assert (volume.secondary / "a").read_text() == "changed under its excluded name"
    assert (volume.secondary / "a").stat().st_ino == (volume.secondary / "b").stat().st_ino


def test_a_directory_that_holds_excluded_files_only_on_the_primary_is_removed(excluding: Volume) -> None:
    volume = excluding
    (volume.mount / "dir").mkdir()
    (volume.mount / "dir/x.tmp").touch()
    (volume.mount / "dir/file").touch()
    volume.sync()
    run("rm", "-r", volume.mount / "dir")
    assert on_secondary(volume) == set()
    assert on_primary(volume) == set()


def fill_then_exclude(volume: Volume, *settings: str) -> None:
    volume.init().mount_it()
    (volume.mount / "cache").mkdir()
    for name in ("a.tmp", "file", "cache/x"):
        (volume.mount / name).write_text(name)
    volume.umount()
    volume.configure(*settings)
    volume.mount_it()


def test_delete_excluded_removes_it_from_the_secondary_at_the_next_sync(new_volume) -> None:
    volume: Volume = new_volume("batched")
    fill_then_exclude(volume, _PATTERNS, "delete_excluded = true")
    assert on_secondary(volume) == {"file"}
    assert on_primary(volume) == {"a.tmp", "file", "cache", "cache/x"}


def test_without_delete_excluded_what_is_on_the_secondary_stays(new_volume) -> None:
    volume: Volume = new_volume("batched")
    fill_then_exclude(volume, _PATTERNS)
    (volume.mount / "a.tmp").write_text("changed on the primary only")
    assert on_secondary(volume) == {"a.tmp", "file", "cache", "cache/x"}
    assert (volume.secondary / "a.tmp").read_text() == "a.tmp"


def test_excluded_again_included_goes_to_the_secondary(new_volume) -> None:
    volume: Volume = new_volume("sync").init()
    volume.configure(_PATTERNS)
    volume.mount_it()
    (volume.mount / "a.tmp").write_text("x")
    volume.umount()
    text = volume.config_file.read_text()
    volume.config_file.write_text(text.replace(_PATTERNS, ""))
    volume.mount_it()
    volume.assert_legs_equal()
    assert (volume.secondary / "a.tmp").read_text() == "x"


def test_adoption_leaves_excluded_files_of_the_secondary_where_they_are(new_volume, workspace: Path) -> None:
    volume: Volume = new_volume("sync").init()
    volume.configure(_PATTERNS)
    (volume.secondary / "old.tmp").write_text("left by an earlier rsync")
    volume.mount_it()
    assert on_secondary(volume) == {"old.tmp"}
    assert not (volume.mount / "old.tmp").exists()
