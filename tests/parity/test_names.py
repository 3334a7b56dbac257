"""Long names, names that are no text, and paths longer than any path may be."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from support import tree
from support.machine import outcome
from support.parity import Pair, look, parity, parity_of_results

ODD = (
    b"not utf-8 \xff\xfe\xe4",
    b"\x80",
    b"tab\tand\nnewline",
    b"quote\"and'back\\slash",
    b"-rf",
    b"*?[a]{b}$HOME`id`",
    b" ",
    b"...",
    b"\x01\x7f",
    "köln 東京 🗄".encode(),
    b"e\xcc\x81",
    "\N{RIGHT-TO-LEFT OVERRIDE}x".encode(),
    b"n" * 255,
    b"\xff" * 255,
)


@parity
def test_odd_names_work_everywhere(root: Path) -> object:
    base = os.fsencode(root)
    for name in ODD:
        path = base + b"/" + name
        os.mkdir(path)
        with open(path + b"/" + name, "wb") as file:
            file.write(name)
        os.symlink(name, path + b"/link")
        os.setxattr(path, b"user.name", name)
        os.rename(path + b"/link", path + b"/x" + name[:250])
        os.link(path + b"/" + name, path + b"/" + name[::-1][:254] + b"y")
    return sorted((name, sorted(os.listdir(base + b"/" + name))) for name in os.listdir(base))


@parity
def test_names_longer_than_255_bytes_are_refused(root: Path) -> object:
    (root / "file").touch()
    name = root / ("ä" * 128)  # 256 bytes, 128 letters
    return [
        outcome(os.mkdir, name),
        outcome(os.open, name, os.O_CREAT | os.O_WRONLY),
        outcome(os.stat, name),
        outcome(os.symlink, "x", name),
        outcome(os.link, root / "file", name),
        outcome(os.rename, root / "file", name),
        outcome(os.unlink, name),
        outcome(os.mknod, name),
        outcome(os.mkdir, root / ("d" * 255)),
    ]


@parity
def test_paths_up_to_path_max(root: Path) -> object:
    seen = []
    base = f"{root}/"
    while len(base) + 201 < 4090:  # so that at least a few bytes are left for the last name
        base += "d" * 200 + "/"
        os.mkdir(base)
    for total in (4094, 4095, 4096, 4097):
        path = base + "f" * (total - len(base))
        made = outcome(lambda path=path: open(path, "w").close())
        seen.append(made)
    shutil.rmtree(root / ("d" * 200))
    return seen


STEP = "a directory with a name long enough to reach PATH_MAX in few steps ".ljust(250, ".")


def descend(root: Path, depth: int) -> int:
    """Make directories in each other by descriptors; the innermost one's descriptor."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir(STEP, dir_fd=fd)
        below = os.open(STEP, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    return fd


def list_anew(fd: int) -> list[str]:
    """On btrfs a directory's descriptor lists what was there when it was opened."""
    fresh = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
    try:
        return sorted(os.listdir(fresh))
    finally:
        os.close(fresh)


def work_below_path_max(root: Path) -> object:
    fd = descend(root, 40)  # 10,000 bytes
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o640, dir_fd=fd))
    file = os.open("file", os.O_RDWR, dir_fd=fd)
    os.write(file, b"deep down")
    os.close(file)
    os.mkdir("dir", 0o700, dir_fd=fd)
    os.rename("file", "dir/renamed", src_dir_fd=fd, dst_dir_fd=fd)
    os.link("dir/renamed", "linked", src_dir_fd=fd, dst_dir_fd=fd)
    os.symlink("linked", "symlink", dir_fd=fd)
    os.chmod("linked", 0o604, dir_fd=fd)
    os.utime("linked", ns=(5, 6), dir_fd=fd)
    os.mkfifo("fifo", dir_fd=fd)
    gone = os.open("gone", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    os.close(gone)
    os.unlink("gone", dir_fd=fd)
    seen = list_anew(fd), look("linked", dir_fd=fd), os.stat("linked", dir_fd=fd).st_mtime_ns
    os.close(fd)
    return seen


def test_work_below_path_max(pair: Pair) -> None:
    pair.check(work_below_path_max)  # the comparison walks by descriptors, so it looks into the depths, too
    pair.twins.sync()
    tree.assert_same(pair.twins.primary / pair.name, pair.twins.secondary / pair.name)
    pair.remove()  # rsync cannot go there


def test_a_tree_below_path_max_is_moved_and_removed(pair: Pair) -> None:
    def case(root: Path) -> object:
        os.close(descend(root, 30))
        os.rename(root / STEP, root / "moved")
        fd = os.open(root / "moved", os.O_RDONLY | os.O_DIRECTORY)
        for _ in range(29):
            below = os.open(STEP, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = below
        os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        seen = list_anew(fd)
        os.close(fd)
        return seen

    pair.check(case)
    pair.twins.sync()
    pair.remove()
    pair.twins.sync()
    assert not (pair.twins.secondary / pair.name).exists()


@parity_of_results
def test_getcwd_and_relative_paths_inside_the_deep(root: Path) -> object:
    before = os.open(".", os.O_RDONLY)
    fd = descend(root, 20)
    try:
        os.fchdir(fd)
        Path("file").write_text("relative")
        return Path("../" + STEP + "/file").read_text(), outcome(os.listdir, ".")
    finally:
        os.close(fd)
        os.fchdir(before)
        os.close(before)
