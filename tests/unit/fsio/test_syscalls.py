"""The system calls that Python lacks."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinfs.fsio.syscalls import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    file_handle,
    list_directory,
    open_beneath,
    punch_hole,
    renameat2,
    syncfs,
)


@pytest.fixture
def dir_fd(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "leg").mkdir()
    fd = os.open(tmp_path / "leg", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def read(fd: int) -> bytes:
    try:
        return os.pread(fd, 100, 0)
    finally:
        os.close(fd)


def test_an_exchange_swaps_and_noreplace_refuses(tmp_path: Path, dir_fd: int) -> None:
    leg = tmp_path / "leg"
    (leg / "a").write_text("A")
    (leg / "b").write_text("B")
    renameat2(b"a", b"b", dir_fd, dir_fd, RENAME_EXCHANGE)
    assert ((leg / "a").read_text(), (leg / "b").read_text()) == ("B", "A")
    with pytest.raises(FileExistsError):
        renameat2(b"a", b"b", dir_fd, dir_fd, RENAME_NOREPLACE)
    with pytest.raises(FileNotFoundError):
        renameat2(b"a", b"absent", dir_fd, dir_fd, RENAME_EXCHANGE)


@pytest.mark.parametrize("path", [b"link/secret", b"deep/link/secret", b"../outside/secret", b"file-link"])
def test_no_path_leads_out_of_the_directory(tmp_path: Path, dir_fd: int, path: bytes) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (tmp_path / "leg" / "deep").mkdir()
    (tmp_path / "leg" / "link").symlink_to(outside)
    (tmp_path / "leg" / "deep" / "link").symlink_to("../../outside")
    (tmp_path / "leg" / "file-link").symlink_to(outside / "secret")
    with pytest.raises(OSError) as caught:
        open_beneath(dir_fd, path, os.O_RDONLY)
    assert caught.value.errno in (errno.ELOOP, errno.EXDEV, errno.ENOTDIR)


def test_a_symbolic_link_itself_can_be_opened_as_a_place(tmp_path: Path, dir_fd: int) -> None:
    (tmp_path / "leg" / "link").symlink_to("/nowhere")
    fd = open_beneath(dir_fd, b"link", os.O_PATH)
    assert os.readlink(b"", dir_fd=fd) == b"/nowhere"
    os.close(fd)


def deep_file(dir_fd: int, depth: int) -> bytes:
    """A file at a path longer than PATH_MAX."""
    part = b"d" * 200
    current = os.dup(dir_fd)
    for _ in range(depth):
        os.mkdir(part, dir_fd=current)
        below = os.open(part, os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = below
    fd = os.open(b"f", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=current)
    os.write(fd, b"deep")
    os.close(fd)
    os.symlink(b"f", b"link", dir_fd=current)
    os.close(current)
    return (part + b"/") * depth


def test_a_path_beyond_path_max_is_walked(dir_fd: int) -> None:
    prefix = deep_file(dir_fd, 30)
    before = len(os.listdir("/proc/self/fd"))
    assert read(open_beneath(dir_fd, prefix + b"f", os.O_RDONLY)) == b"deep"
    with pytest.raises(OSError) as caught:
        open_beneath(dir_fd, prefix + b"link", os.O_RDONLY)
    assert caught.value.errno == errno.ELOOP
    with pytest.raises(FileNotFoundError):
        open_beneath(dir_fd, prefix + b"absent/f", os.O_RDONLY)
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_empty_path_is_the_directory(tmp_path: Path, dir_fd: int) -> None:
    fd = open_beneath(dir_fd, b"", os.O_PATH)
    assert os.fstat(fd).st_ino == (tmp_path / "leg").stat().st_ino
    os.close(fd)


def test_a_listing_goes_on_where_it_stopped_though_names_vanish(tmp_path: Path, dir_fd: int) -> None:
    names = {b"%04d-%s" % (index, b"n" * 100) for index in range(600)}
    for name in names:
        (tmp_path / "leg" / os.fsdecode(name)).touch()
    seen: list[bytes] = []
    offset = 0
    while entries := list_directory(dir_fd, offset):
        if not offset:
            assert len(entries) < len(names), "one call must not be enough, or nothing is tested"
            for entry in entries[:5]:
                if entry.name in names:
                    os.unlink(entry.name, dir_fd=dir_fd)
        seen += [entry.name for entry in entries]
        offset = entries[-1].next_offset
    assert sorted(seen) == sorted(names | {b".", b".."})


def test_a_listing_tells_inode_numbers(tmp_path: Path, dir_fd: int) -> None:
    (tmp_path / "leg" / "f").touch()
    found = {entry.name: entry.ino for entry in list_directory(dir_fd, 0)}
    assert found[b"f"] == (tmp_path / "leg" / "f").stat().st_ino


def test_a_punched_hole_reads_as_zeros_and_keeps_the_size(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"x" * 10_000)
    punch_hole(fd, 4096, 4096)
    assert os.pread(fd, 20_000, 0) == b"x" * 4096 + bytes(4096) + b"x" * (10_000 - 8192)
    os.close(fd)


def test_a_closed_descriptor_cannot_be_synced(dir_fd: int) -> None:
    syncfs(dir_fd)
    with pytest.raises(OSError) as caught:
        syncfs(-1)
    assert caught.value.errno == errno.EBADF


def test_a_handle_tells_a_file_from_one_that_has_its_inode_number_later(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    (tmp_path / "a").touch()
    os.link(tmp_path / "a", tmp_path / "b")
    first = file_handle(fd, b"a")
    assert file_handle(fd, b"b") == first
    (tmp_path / "c").touch()
    assert first == b"" or file_handle(fd, b"c") != first
    with pytest.raises(FileNotFoundError):
        file_handle(fd, b"none")
    os.close(fd)
