"""rename and renameat2 in all their variants."""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.machine import as_other, needs_root, outcome
from support.parity import Pair, look, parity

NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
AT_FDCWD = -100

_libc = ctypes.CDLL(None, use_errno=True)


def renameat2(old: Path, new: Path, flags: int) -> None:
    if _libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(old))


def populate(root: Path) -> None:
    """One of each kind, to be renamed onto each other."""
    for side in ("from", "to"):
        (root / side).mkdir()
        (root / side / "file").write_text(f"{side} file")
        (root / side / "empty").mkdir()
        (root / side / "full").mkdir()
        (root / side / "full" / "child").write_text(f"{side} child")
        (root / side / "link").symlink_to("file")
        (root / side / "dangling").symlink_to("nowhere")
        (root / side / "gone").symlink_to("x")
        (root / side / "gone").unlink()
        os.mkfifo(root / side / "fifo")


def names_below(root: Path) -> list[tuple[str, object]]:
    return [(str(path.relative_to(root)), look(path)) for path in sorted(root.rglob("*"))]


KINDS = ("file", "empty", "full", "link", "dangling", "gone", "fifo")
COMBINATIONS = tuple(itertools.product(KINDS, KINDS))


def combinations(flags: int) -> Iterator[tuple[str, str, int]]:
    return ((old, new, flags) for old, new in COMBINATIONS)


@pytest.mark.parametrize("flags", (0, NOREPLACE, EXCHANGE, NOREPLACE | EXCHANGE, WHITEOUT | EXCHANGE, 64))
def test_rename_of_every_kind_onto_every_kind(pair: Pair, flags: int) -> None:
    def case(root: Path) -> object:
        seen = []
        for old, new, flag in combinations(flags):
            base = root / f"{old}-{new}"
            base.mkdir()
            populate(base)
            seen.append((old, new, outcome(renameat2, base / "from" / old, base / "to" / new, flag)))
            seen.append(names_below(base))
        return seen

    pair.check(case)


@parity
def test_rename_of_a_directory_into_itself(root: Path) -> object:
    (root / "a/b/c").mkdir(parents=True)
    (root / "file").touch()
    return [
        outcome(renameat2, root / old, root / new, flags)
        for old, new in (
            ("a", "a/b"),
            ("a", "a/b/c/d"),
            ("a", "a"),
            ("a/b/c", "a/b"),
            ("a/b", "a"),
            ("file", "file/x"),
        )
        for flags in (0, NOREPLACE, EXCHANGE)
    ]


@parity
def test_rename_onto_another_name_of_the_same_inode_does_nothing(root: Path) -> object:
    (root / "one").write_text("same")
    os.link(root / "one", root / "two")
    os.rename(root / "one", root / "two")
    return sorted(os.listdir(root)), look(root / "one")


@parity
def test_rename_over_an_open_file_keeps_its_old_content_readable(root: Path) -> object:
    (root / "target").write_text("old content")
    fd = os.open(root / "target", os.O_RDWR)
    (root / "new").write_text("new content")
    os.rename(root / "new", root / "target")
    os.pwrite(fd, b"OLD", 0)
    seen = [os.pread(fd, 100, 0), os.fstat(fd).st_nlink, (root / "target").read_bytes()]
    os.close(fd)
    return seen, (root / "target").read_bytes()


@parity
def test_a_renamed_open_file_goes_on_under_its_new_name(root: Path) -> object:
    (root / "dir").mkdir()
    fd = os.open(root / "before", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"one ")
    os.rename(root / "before", root / "dir" / "after")
    os.write(fd, b"two ")
    os.rename(root / "dir", root / "dir2")
    os.write(fd, b"three ")
    (root / "before").write_text("another file")
    os.ftruncate(fd, 12)
    os.fchmod(fd, 0o640)
    os.fsync(fd)
    os.close(fd)
    return (
        (root / "dir2" / "after").read_bytes(),
        look(root / "dir2" / "after"),
        (root / "before").read_text(),
    )


@parity
def test_exchange_while_both_files_are_open(root: Path) -> object:
    first = os.open(root / "a", os.O_RDWR | os.O_CREAT, 0o644)
    second = os.open(root / "b", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(first, b"content of a")
    os.write(second, b"content of b")
    renameat2(root / "a", root / "b", EXCHANGE)
    os.write(first, b", written on")
    seen = [os.pread(first, 50, 0), os.pread(second, 50, 0)]
    os.close(first)
    os.close(second)
    return seen, (root / "a").read_bytes(), (root / "b").read_bytes()


@parity
def test_exchange_of_a_file_and_a_tree(root: Path) -> object:
    (root / "tree/deep/er").mkdir(parents=True)
    (root / "tree/deep/er/leaf").write_text("leaf")
    (root / "file").write_text("file")
    renameat2(root / "tree", root / "file", EXCHANGE)
    (root / "file/deep/er/new").write_text("made below the new name")
    return names_below(root), (root / "tree").read_text(), outcome(os.stat, root / "tree/deep")


@parity
def test_rename_between_directories_and_back(root: Path) -> object:
    for name in ("a", "b", "a/sub"):
        (root / name).mkdir()
    (root / "a/sub/file").write_text("wanders")
    os.rename(root / "a/sub", root / "b/sub")
    seen = [outcome(os.stat, root / "a/sub/file")[0], (root / "b/sub/file").read_text()]
    os.rename(root / "b/sub/file", root / "a/file")
    os.rename(root / "b/sub", root / "a/sub")
    return seen, names_below(root), look(root / "a"), look(root / "b")


@parity
def test_dot_dot_follows_a_moved_directory(root: Path) -> object:
    (root / "a/sub").mkdir(parents=True)
    (root / "b").mkdir()
    (root / "b/marker").touch()
    fd = os.open(root / "a/sub", os.O_RDONLY | os.O_DIRECTORY)
    os.rename(root / "a/sub", root / "b/sub")
    upwards = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
    seen = sorted(os.listdir(upwards))
    os.close(upwards)
    os.close(fd)
    return seen


@parity
def test_working_below_a_renamed_directory_by_its_descriptor(root: Path) -> object:
    (root / "dir").mkdir()
    fd = os.open(root / "dir", os.O_RDONLY | os.O_DIRECTORY)
    os.rename(root / "dir", root / "moved")
    (root / "dir").mkdir()
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=fd))
    os.mkdir("sub", dir_fd=fd)
    os.rename("file", "sub/file", src_dir_fd=fd, dst_dir_fd=fd)
    os.close(fd)
    return names_below(root)


@parity
def test_rename_errors(root: Path) -> object:
    (root / "file").touch()
    (root / "dir").mkdir()
    pairs = (
        ("missing", "new"),
        ("file", "missing/new"),
        ("missing/file", "new"),
        ("file", "x" * 256),
        ("file", "file/below"),
        ("file", "dir/"),
        ("file", "new/"),
        ("dir", "dir2/"),
        ("dir2/.", "dir3"),
        ("dir2/..", "dir3"),
        ("file", ""),
    )
    # Joined as text: Path would drop the trailing slashes.
    return [outcome(os.rename, f"{root}/{old}", f"{root}/{new}") for old, new in pairs]


@parity
def test_rename_across_file_systems_is_exdev(root: Path) -> object:
    (root / "file").touch()
    return outcome(os.rename, root / "file", "/dev/shm/twinfs-test-must-not-arrive")


@needs_root
@parity
def test_rename_in_a_sticky_directory(root: Path) -> object:
    (root / "sticky").mkdir()
    (root / "sticky").chmod(0o1777)
    (root / "sticky/of-root").touch()
    (root / "closed").mkdir(mode=0o755)
    (root / "closed/file").touch()

    def as_user() -> object:
        (root / "sticky/own").touch()
        return [
            outcome(os.rename, root / "sticky/of-root", root / "sticky/stolen"),
            outcome(os.rename, root / "sticky/own", root / "sticky/of-root"),
            outcome(os.rename, root / "sticky/own", root / "sticky/renamed"),
            outcome(os.rename, root / "closed/file", root / "taken"),
            outcome(os.rename, root / "sticky/renamed", root / "closed/put"),
        ]

    return as_other(as_user)
