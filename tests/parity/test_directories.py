"""Making, removing and listing directories."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from support.machine import outcome, run
from support.parity import look, parity
from support.volume import Volume


@parity
def test_mkdir_and_rmdir_errors(root: Path) -> object:
    (root / "file").touch()
    (root / "dir").mkdir()
    (root / "full/sub").mkdir(parents=True)
    (root / "link").symlink_to("dir")
    (root / "dangling").symlink_to("nowhere")
    seen = [
        outcome(os.mkdir, f"{root}/{name}")
        for name in ("dir", "file", "link", "dangling", "missing/x", "file/x", "x" * 256)
    ]
    seen += [outcome(os.mkdir, f"{root}/{name}") for name in ("trailing/", ".", "..", "dir/..", "")]
    names = ("missing", "file", "full", "link", "dir/.", "full/..", "full/sub", "full", "trailing/")
    return seen, [outcome(os.rmdir, f"{root}/{name}") for name in names]


@parity
def test_unlink_errors(root: Path) -> object:
    (root / "file").touch()
    (root / "dir").mkdir()
    (root / "link").symlink_to("dir")
    names = ("missing", "dir", "file/x", "link/", "missing/x", "x" * 256, "link", "file", "file", "")
    return [outcome(os.unlink, f"{root}/{name}") for name in names]


@parity
def test_nlink_of_directories_counts_their_subdirectories(root: Path) -> object:
    (root / "dir").mkdir()
    seen = [look(root / "dir")]
    for name in ("a", "b", "c"):
        (root / "dir" / name).mkdir()
        seen.append(look(root / "dir"))
    (root / "dir/file").touch()
    (root / "dir/a").rmdir()
    (root / "dir/b").rename(root / "b")
    return [*seen, look(root / "dir")]


@parity
def test_a_removed_working_directory(root: Path) -> object:
    (root / "dir").mkdir()
    fd = os.open(root / "dir", os.O_RDONLY | os.O_DIRECTORY)
    (root / "dir").rmdir()
    seen = [
        outcome(os.listdir, fd),
        outcome(os.mkdir, "x", dir_fd=fd),
        outcome(os.open, "x", os.O_CREAT | os.O_WRONLY, dir_fd=fd),
        outcome(os.stat, "x", dir_fd=fd),
        look(fd),
    ]
    os.close(fd)
    return seen


@parity
def test_rmdir_and_mkdir_of_the_same_name_again_and_again(root: Path) -> object:
    for number in range(50):
        (root / "dir").mkdir()
        (root / "dir" / f"file{number}").touch()
        os.unlink(root / "dir" / f"file{number}")
        (root / "dir").rmdir()
    (root / "dir").mkdir()
    return os.listdir(root / "dir"), look(root / "dir")


@parity
def test_listing_shows_kinds_and_the_inodes_that_stat_shows(root: Path) -> object:
    (root / "file").touch()
    (root / "dir").mkdir()
    (root / "link").symlink_to("file")
    os.mkfifo(root / "fifo")
    os.link(root / "file", root / "hard")
    with os.scandir(root) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    kinds = [(e.name, e.is_file(follow_symlinks=False), e.is_dir(), e.is_symlink()) for e in entries]
    agree = [entry.inode() == os.lstat(root / entry.name).st_ino for entry in entries]
    return kinds, agree


@parity
def test_inodes_stay_the_same_over_rename_and_differ_between_files(root: Path) -> object:
    for name in ("a", "b", "c"):
        (root / name).touch()
    before = {name: (root / name).stat().st_ino for name in ("a", "b", "c")}
    (root / "a").rename(root / "d")
    (root / "d").chmod(0o600)
    return len(set(before.values())), (root / "d").stat().st_ino == before["a"]


@parity
def test_case_and_spelling_matter(root: Path) -> object:
    for name in ("name", "Name", "NAME", "na me", "name ", " name", "ä", "a\u0308"):
        (root / name).write_text(name)
    return sorted((path.name, path.read_text()) for path in root.iterdir())


@parity
def test_dot_and_dot_dot_lead_where_they_should(root: Path) -> object:
    (root / "a/b").mkdir(parents=True)
    same = os.path.samefile(root / "a/b/../..", root), os.path.samefile(root / "a/.", root / "a")
    return same, sorted(os.listdir(root / "a/b/.."))


@parity
def test_a_listing_begun_before_changes_ends_after_them(root: Path) -> object:
    for number in range(1000):
        (root / f"stays{number:04}").touch()
    for number in range(300):
        (root / f"goes{number:04}").touch()
    seen = []
    with os.scandir(root) as found:
        for count, entry in enumerate(found):
            seen.append(entry.name)
            if count < 300:
                os.unlink(root / f"goes{count:04}")
                (root / f"comes{count:04}").touch()
    stays = [name for name in seen if name.startswith("stays")]
    return len(stays), len(set(stays)), len(seen) == len(set(seen))


@parity
def test_seekdir_returns_to_where_telldir_was(root: Path) -> object:
    """A second listing through one descriptor starts anew, as rewinddir does."""
    for number in range(300):
        (root / f"name{number}").touch()
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    first = sorted(os.listdir(fd))
    (root / "late").touch()
    second = sorted(os.listdir(fd))
    os.close(fd)
    return first, second


@parity
def test_removing_while_listing_removes_everything(root: Path) -> object:
    (root / "dir").mkdir()
    for number in range(1500):
        (root / "dir" / f"{number}").touch()
    with os.scandir(root / "dir") as found:
        for entry in found:
            os.unlink(entry.path)
    return os.listdir(root / "dir"), outcome(os.rmdir, root / "dir")


def _volume_of_many(volume: Volume, count: int) -> Path:
    """A volume whose legs held `count` files before it was made; making them through it takes longer."""
    (volume.primary / "many").mkdir()
    for number in range(count):
        os.close(os.open(volume.primary / f"many/stays{number:06}", os.O_CREAT | os.O_WRONLY, 0o644))
    run("cp", "-a", volume.primary / "many", volume.secondary, timeout=600)
    volume.twinfs("init", volume.primary, volume.secondary, "--name", volume.name, "--adopt", timeout=600)
    volume.mount_it()
    return volume.mount / "many"


def _list_while_entries_come_and_go(directory: Path, count: int, listings: int) -> None:
    done = threading.Event()
    changer = threading.Thread(target=_come_and_go, args=(directory, done))
    changer.start()
    try:
        for _ in range(listings):
            names = os.listdir(directory)
            stays = [name for name in names if name.startswith("stays")]
            assert len(set(stays)) == count, f"missed {count - len(set(stays))} of {count}"
            assert len(names) == len(set(names)), "listed a name twice"
    finally:
        done.set()
        changer.join()


def _come_and_go(directory: Path, done: threading.Event) -> None:
    number = 0
    while not done.is_set():
        number += 1
        (directory / f"comes{number}").touch()
        if number > 20:
            (directory / f"comes{number - 20}").rename(directory / f"moved{number - 20}")
        if number > 40:
            (directory / f"moved{number - 40}").unlink()


def _check_many(volume: Volume, count: int) -> None:
    directory = _volume_of_many(volume, count)
    _list_while_entries_come_and_go(directory, count, listings=4)
    volume.twinfs("sync", volume.name, timeout=600)
    names = [sorted(os.listdir(leg / "many")) for leg in (volume.primary, volume.secondary)]
    assert names[0] == names[1]
    assert len(names[0]) >= count


@pytest.mark.deadline(300)
def test_no_entry_of_20_000_is_missed_or_seen_twice_while_others_come_and_go(new_volume) -> None:
    _check_many(new_volume("sync"), 20_000)


@pytest.mark.slow
@pytest.mark.deadline(1800)
def test_no_entry_of_200_000_is_missed_or_seen_twice_while_others_come_and_go(new_volume) -> None:
    _check_many(new_volume("sync"), 200_000)
