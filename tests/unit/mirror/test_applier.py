"""One change of names on the secondary: done twice it is done once, and it never leaves the leg."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from support.tree import snapshot
from twinfs.journal.log import IntentLog
from twinfs.journal.records import Create, Exclude, Link, NameChange, Remove, Rename
from twinfs.mirror.compare import Place
from twinfs.mirror.following import GONE
from unit.mirror.kit import Pair

UID, GID = os.geteuid(), os.getegid()


def new(path: bytes, mode: int, *, target: bytes = b"", rdev: int = 0) -> Create:
    return Create(path, mode, UID, GID, rdev, target)


CHANGES: list[NameChange] = [
    new(b"d/new", stat.S_IFREG | 0o4755),
    new(b"d/dir", stat.S_IFDIR | 0o2711),
    new(b"d/link", stat.S_IFLNK | 0o777, target=b"../nowhere\xff"),
    new(b"d/fifo", stat.S_IFIFO | 0o640),
    new(b"d/socket", stat.S_IFSOCK | 0o600),
    Link(b"full", b"d/again"),
    Remove(b"full", False, True),
    Remove(b"empty", True, True),
    Rename(b"full", b"d/moved", False, 1),
    Rename(b"full", b"other", False, 1),
    Rename(b"tree", b"d/tree", False, 1),
    Rename(b"tree", b"empty", False, 1),
    Rename(b"full", b"tree", True, 1),
    Rename(b"tree/below", b"d", True, 1),
    Exclude(b"tree"),
    Exclude(b"absent"),
]


@pytest.fixture
def furnished(pair: Pair) -> Pair:
    for name in ("d", "empty", "tree/below"):
        (pair.secondary / name).mkdir(parents=True)
    (pair.secondary / "full").write_text("content")
    (pair.secondary / "other").write_text("replaced")
    (pair.secondary / "tree" / "below" / "f").write_text("deep")
    return pair


def shape(leg: Path) -> dict[bytes, tuple[object, ...]]:
    """The tree without times."""
    return {
        path: (entry.mode, entry.uid, entry.gid, entry.rdev, entry.target, entry.content, entry.twin)
        for path, entry in snapshot(leg).items()
    }


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_each_change_done_twice_is_done_once(furnished: Pair, change: NameChange) -> None:
    before = shape(furnished.secondary)
    assert furnished.applier.apply(7, change) == ()
    once = shape(furnished.secondary)
    assert (once != before) is (change != Exclude(b"absent"))
    furnished.restart()
    furnished.applier.apply(7, change)  # what may be left to compare is not wrong already
    assert shape(furnished.secondary) == once


@pytest.mark.skipif(UID != 0, reason="only root makes devices and gives files away")
def test_devices_and_owners_are_as_announced(furnished: Pair) -> None:
    rdev = os.makedev(1, 3)
    furnished.applier.apply(1, Create(b"null", stat.S_IFCHR | 0o620, 1234, 2345, rdev, b""))
    furnished.applier.apply(2, Create(b"suid", stat.S_IFREG | 0o6755, 1234, 2345, 0, b""))
    device, file = (furnished.secondary / "null").lstat(), (furnished.secondary / "suid").lstat()
    assert (device.st_mode, device.st_rdev, device.st_uid) == (stat.S_IFCHR | 0o620, rdev, 1234)
    assert (file.st_mode, file.st_uid, file.st_gid) == (stat.S_IFREG | 0o6755, 1234, 2345)


@pytest.mark.parametrize("is_done", [False, True])
def test_an_exchange_killed_around_its_system_call_is_done_exactly_once(
    furnished: Pair, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    class Killed(BaseException):
        pass

    def die(old: bytes, new_name: bytes, old_fd: int, new_fd: int, flags: int) -> None:
        if is_done:
            renameat2(old, new_name, old_fd, new_fd, flags)
        raise Killed

    from twinfs.fsio.syscalls import renameat2

    change = Rename(b"full", b"tree", True, 1)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("twinfs.mirror.applier.renameat2", die)
        furnished.applier.apply(7, change)
    furnished.restart()
    furnished.applier.apply(7, change)
    assert (furnished.secondary / "tree").read_text() == "content"
    assert (furnished.secondary / "full" / "below" / "f").read_text() == "deep"
    assert furnished.applier.swapping == {}


def test_an_exchange_is_noted_before_it_is_done(furnished: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(IntentLog, "append", lambda log, number, record: order.append("log"))
    monkeypatch.setattr("twinfs.mirror.applier.renameat2", lambda *arguments: order.append("rename"))
    furnished.applier.apply(7, Rename(b"full", b"tree", True, 1))
    assert order == ["log", "rename"]


@pytest.mark.parametrize(
    ("change", "compared"),
    [
        (new(b"full", stat.S_IFREG | 0o644), {b"full"}),
        (new(b"full", stat.S_IFDIR | 0o755), {b"full"}),
        (new(b"full", stat.S_IFLNK | 0o777, target=b"x"), {b"full"}),
        (new(b"gone/f", stat.S_IFREG | 0o644), {b"gone/f"}),
        (new(b"full/f", stat.S_IFREG | 0o644), {b"full/f"}),
        (Link(b"full", b"other"), {b"other"}),
        (Link(b"absent", b"d/f"), {b"d/f"}),
        (Remove(b"tree", True, True), {b"tree"}),
        (Remove(b"d", False, True), {b"d"}),
        (Remove(b"full", True, True), {b"full"}),
        (Rename(b"absent", b"d/f", False, 1), {b"d/f"}),
        (Rename(b"full", b"d", False, 1), {b"full", b"d"}),
        (Rename(b"full", b"absent", True, 1), {b"full", b"absent"}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_what_is_not_as_expected_stays_and_comes_back_to_be_compared(
    furnished: Pair, change: NameChange, compared: set[bytes]
) -> None:
    before = shape(furnished.secondary)
    assert set(furnished.applier.apply(7, change)) == compared
    assert shape(furnished.secondary) == before


def test_every_change_touches_its_directories_and_they_follow_later_renames(furnished: Pair) -> None:
    furnished.applier.apply(1, new(b"tree/below/g", stat.S_IFREG | 0o644))
    furnished.applier.apply(2, Rename(b"tree", b"d/tree", False, 1))
    touched = set(furnished.applier.touched)
    assert touched >= {b"d/tree/below/g", b"d/tree/below", b"d", b""}
    assert b"tree/below" not in touched


def test_removing_what_is_gone_is_done(furnished: Pair) -> None:
    assert furnished.applier.apply(7, Remove(b"absent", False, True)) == ()


def test_an_error_of_the_disk_is_raised(furnished: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: bytes, *, dir_fd: int) -> None:
        raise OSError(5, "a dying disk")

    monkeypatch.setattr(os, "unlink", fail)
    with pytest.raises(OSError, match="dying"):
        furnished.applier.apply(7, Remove(b"full", False, True))


@pytest.mark.parametrize(
    "change",
    [
        new(b"door/f", stat.S_IFREG | 0o644),
        Link(b"full", b"door/f"),
        Link(b"door/secret", b"d/f"),
        Remove(b"door/secret", False, True),
        Rename(b"full", b"door/secret", False, 1),
        Rename(b"door/secret", b"d/f", False, 1),
        Rename(b"full", b"door/secret", True, 1),
        Exclude(b"door/secret"),
    ],
    ids=str,
)
def test_a_symbolic_link_that_leads_out_of_the_leg_is_never_followed(
    furnished: Pair, tmp_path: Path, change: NameChange
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("precious")
    (furnished.secondary / "door").symlink_to(outside)
    (furnished.primary / "door").mkdir()
    (furnished.primary / "door" / "secret").write_text("mine")
    before, inside = snapshot(outside), shape(furnished.secondary)
    assert furnished.applier.apply(7, change)
    furnished.applier.copy_times(furnished.primary_fd, b"door/secret")
    with pytest.raises(OSError):
        furnished.applier.copy_metadata(furnished.primary_fd, b"door/secret")
    assert snapshot(outside) == before
    assert shape(furnished.secondary) == inside


def test_metadata_of_a_symbolic_link_in_place_of_a_file_goes_to_the_link(
    furnished: Pair, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    victim.chmod(0o640)
    before = victim.stat()
    (furnished.primary / "f").write_text("mine")
    (furnished.primary / "f").chmod(0o777)
    (furnished.secondary / "f").symlink_to(victim)
    try:
        furnished.applier.copy_metadata(furnished.primary_fd, b"f")
    except OSError:
        pass  # a link has no mode: refusing is right, too
    assert victim.stat() == before


def test_known_directories_follow_renames_and_are_closed_in_the_end(furnished: Pair) -> None:
    before = len(os.listdir("/proc/self/fd"))
    applier = furnished.applier
    applier.directory(b"tree/below")
    applier.apply(1, Rename(b"tree", b"d/tree", False, 1))
    applier.apply(2, new(b"tree", stat.S_IFDIR | 0o755))
    applier.apply(3, new(b"tree/below", stat.S_IFDIR | 0o755))
    applier.apply(4, new(b"tree/below/g", stat.S_IFREG | 0o644))
    assert os.listdir(furnished.secondary / "tree" / "below") == ["g"]
    assert os.listdir(furnished.secondary / "d" / "tree" / "below") == ["f"]
    applier.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_only_so_many_directories_are_kept_open(furnished: Pair) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for index in range(400):
        (furnished.secondary / "d" / str(index)).mkdir()
        furnished.applier.apply(index, new(b"d/%d/f" % index, stat.S_IFREG | 0o644))
    assert len(os.listdir("/proc/self/fd")) - before <= 260
    assert (furnished.secondary / "d" / "0" / "f").exists()


def test_followers_end_where_their_object_is(furnished: Pair) -> None:
    applier = furnished.applier
    moved, replaced, removed, swapped = (
        Place(path) for path in (b"full", b"other", b"empty", b"tree/below/f")
    )
    applier.followers.update((moved, replaced, removed, swapped))
    applier.apply(1, Rename(b"full", b"other", False, 1))
    applier.apply(2, Remove(b"empty", True, True))
    applier.apply(3, Rename(b"tree/below", b"d", True, 1))
    assert (moved.path, replaced.path, removed.path, swapped.path) == (b"other", GONE, GONE, b"d/f")


def test_copying_times_of_what_one_leg_lacks_is_left_to_what_is_pending(furnished: Pair) -> None:
    (furnished.primary / "only").touch()
    furnished.applier.copy_times(furnished.primary_fd, b"only")
    furnished.applier.copy_times(furnished.primary_fd, b"full")
    os.utime(furnished.primary, ns=(5, 6))
    furnished.applier.copy_times(furnished.primary_fd, b"")
    assert furnished.secondary.stat().st_mtime_ns == 6
