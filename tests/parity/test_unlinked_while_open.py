"""Files that are in use after their last name is gone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from support.machine import outcome
from support.parity import look, parity


@parity
def test_an_unlinked_file_is_read_written_and_truncated(root: Path) -> object:
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"0123456789" * 1000)
    os.unlink(root / "file")
    seen = [os.listdir(root), os.pread(fd, 10, 5000), os.fstat(fd).st_nlink]
    os.pwrite(fd, b"written after", 20_000)
    seen += [os.pread(fd, 50, 19_990), look(fd)]
    os.ftruncate(fd, 5)
    seen += [os.pread(fd, 50, 0), look(fd), outcome(os.fsync, fd), outcome(os.fdatasync, fd)]
    os.close(fd)
    return seen


@parity
def test_an_unlinked_file_takes_modes_times_and_locks(root: Path) -> object:
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    os.unlink(root / "file")
    os.fchmod(fd, 0o600)
    os.utime(fd, ns=(10, 20))
    seen = (
        look(fd),
        os.fstat(fd).st_mtime_ns,
        outcome(os.fchown, fd, -1, -1),
        outcome(os.set_blocking, fd, False),
    )
    os.close(fd)
    return seen


@parity
def test_a_new_file_of_the_same_name_is_another_file(root: Path) -> object:
    old = os.open(root / "name", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(old, b"old content")
    os.unlink(root / "name")
    new = os.open(root / "name", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(new, b"NEW")
    os.pwrite(old, b"OLD", 0)
    seen = [os.pread(old, 50, 0), os.pread(new, 50, 0), (root / "name").read_bytes()]
    os.close(old)
    seen.append((root / "name").read_bytes())
    os.close(new)
    return seen, look(root / "name")


@parity
def test_an_open_file_loses_one_of_two_names(root: Path) -> object:
    fd = os.open(root / "one", os.O_RDWR | os.O_CREAT, 0o644)
    os.link(root / "one", root / "two")
    os.unlink(root / "one")
    os.write(fd, b"through the descriptor of a name that is gone")
    os.fchmod(fd, 0o604)
    seen = look(fd)
    os.close(fd)
    return seen, (root / "two").read_bytes(), look(root / "two")


@parity
def test_an_unlinked_file_opened_twice(root: Path) -> object:
    first = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    second = os.open(root / "file", os.O_RDONLY)
    os.unlink(root / "file")
    os.write(first, b"seen by the other")
    seen = [os.pread(second, 50, 0)]
    os.close(first)
    seen.append(os.pread(second, 50, 0))
    os.close(second)
    return seen, os.listdir(root)


@parity
def test_an_unlinked_file_is_reopened_through_proc(root: Path) -> object:
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"content")
    os.unlink(root / "file")
    again = outcome(os.open, f"/proc/self/fd/{fd}", os.O_RDONLY)
    seen = os.pread(again[1], 50, 0) if again[0] == "ok" else again
    if again[0] == "ok":
        os.close(again[1])
    os.close(fd)
    return seen


@parity
def test_unlink_in_a_directory_that_is_removed_then(root: Path) -> object:
    (root / "dir").mkdir()
    fd = os.open(root / "dir/file", os.O_RDWR | os.O_CREAT, 0o644)
    os.unlink(root / "dir/file")
    removed = outcome(os.rmdir, root / "dir")  # no .fuse_hidden file may keep it
    os.write(fd, b"still writable")
    seen = os.pread(fd, 50, 0)
    os.close(fd)
    return removed, seen, os.listdir(root)


@parity
def test_temporary_files_of_python(root: Path) -> object:
    with tempfile.TemporaryFile(dir=root) as file:
        file.write(b"x" * 100_000)
        file.seek(50_000)
        seen = file.read(3), len(os.listdir(root))
    return seen


@parity
def test_many_unlinked_files_at_once(root: Path) -> object:
    fds = []
    for number in range(200):
        fds.append(os.open(root / "again", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        os.write(fds[-1], b"number %d" % number)
        os.unlink(root / "again")
    seen = [os.pread(fd, 20, 0) for fd in fds]
    for fd in fds:
        os.close(fd)
    return seen, os.listdir(root)
