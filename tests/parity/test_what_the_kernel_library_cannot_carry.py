"""fallocate, copy_file_range, O_TMPFILE, SEEK_HOLE: where they are missing, programs fall back."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from pathlib import Path

from support.machine import outcome, run
from support.parity import Pair, look, parity

_libc = ctypes.CDLL(None, use_errno=True)
UNSUPPORTED = {"ENOTSUP", "ENOSYS", "EINVAL"}  # ENOTSUP is Python's name of EOPNOTSUPP


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    if _libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def test_fallocate_says_eopnotsupp(pair: Pair) -> None:
    """The errno from which glibc's posix_fallocate, cp, dd, qemu and databases fall back."""
    fd = os.open(pair.volume / "file", os.O_RDWR | os.O_CREAT, 0o644)
    keep_size, punch_hole = 1, 2
    answers = [outcome(fallocate, fd, mode, 0, 4096)[0] for mode in (0, keep_size, keep_size | punch_hole, 0)]
    os.close(fd)
    assert answers == ["ENOTSUP"] * 4  # Python's name of EOPNOTSUPP
    assert look(pair.volume / "file")["size"] == 0


@parity
def test_posix_fallocate_falls_back(root: Path) -> object:
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"kept")
    answer = outcome(os.posix_fallocate, fd, 0, 100_000)
    seen = answer, os.fstat(fd).st_size, os.pread(fd, 8, 0)
    os.close(fd)
    os.unlink(root / "file")  # the plain directory's has blocks without data
    return seen


@parity
def test_copy_file_range_copies_or_is_fallen_back_from(root: Path) -> object:
    (root / "source").write_bytes(os.fsencode(str(range(1000))) * 10_000)
    source, copy = (
        os.open(root / "source", os.O_RDONLY),
        os.open(root / "copy", os.O_RDWR | os.O_CREAT, 0o644),
    )
    try:
        while os.copy_file_range(source, copy, 1 << 20):
            pass
    except OSError as error:
        assert error.errno in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EINVAL), error
        shutil.copyfile(root / "source", root / "copy")
    os.close(source)
    os.close(copy)
    return (root / "source").read_bytes() == (root / "copy").read_bytes(), look(root / "copy")


@parity
def test_sendfile_and_splice_copy(root: Path) -> object:
    (root / "source").write_bytes(b"sendfile" * 50_000)
    source, copy = (
        os.open(root / "source", os.O_RDONLY),
        os.open(root / "copy", os.O_RDWR | os.O_CREAT, 0o644),
    )
    sent = 0
    while chunk := os.sendfile(copy, source, None, 1 << 20):
        sent += chunk
    os.close(source)
    os.close(copy)
    return sent, look(root / "copy")


@parity
def test_seek_data_and_seek_hole_of_a_file_without_holes(root: Path) -> object:
    (root / "file").write_bytes(b"x" * 10_000)
    fd = os.open(root / "file", os.O_RDONLY)
    places = (
        (0, os.SEEK_DATA),
        (0, os.SEEK_HOLE),
        (9999, os.SEEK_DATA),
        (10_000, os.SEEK_DATA),
        (10_000, os.SEEK_HOLE),
    )
    seen = [outcome(os.lseek, fd, offset, whence) for offset, whence in places]
    os.close(fd)
    return seen


def test_seek_hole_of_a_sparse_file_never_skips_data(pair: Pair) -> None:
    fd = os.open(pair.volume / "sparse", os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(fd, b"island", 1 << 20)
    os.ftruncate(fd, 3 << 20)
    answer, start = outcome(os.lseek, fd, 0, os.SEEK_DATA)
    assert answer in UNSUPPORTED or (answer == "ok" and start <= 1 << 20)
    answer, end = outcome(os.lseek, fd, 1 << 20, os.SEEK_HOLE)
    assert answer in UNSUPPORTED or (answer == "ok" and end >= (1 << 20) + 6)
    os.close(fd)


def test_o_tmpfile_fails_cleanly(pair: Pair) -> None:
    answer, fd = outcome(os.open, pair.volume, os.O_TMPFILE | os.O_RDWR, 0o600)
    if answer == "ok":  # a library that learns it: then it must work
        os.write(fd, b"nameless")
        assert os.pread(fd, 100, 0) == b"nameless"
        os.close(fd)
    assert answer in {"ok", *UNSUPPORTED}
    assert os.listdir(pair.volume) == []


def test_ioctls_are_refused_not_hung(pair: Pair) -> None:
    (pair.volume / "file").touch()
    done = run("lsattr", pair.volume / "file", check=False)
    assert done.returncode in (0, 1)
    assert (pair.volume / "file").exists()


@parity
def test_cp_and_dd_and_install_and_mv_work(root: Path) -> object:
    (root / "source").write_bytes(os.fsencode("some content\n" * 20_000))
    run("cp", root / "source", root / "cp")
    run("cp", "--reflink=auto", "--sparse=always", root / "source", root / "cp-sparse")
    run("dd", f"if={root}/source", f"of={root}/dd", "bs=64k", "conv=fsync", "status=none")
    run("dd", f"if={root}/source", f"of={root}/dd-sparse", "bs=4k", "conv=sparse,fdatasync", "status=none")
    run("dd", "if=/dev/zero", f"of={root}/dd-seek", "bs=1", "count=1", "seek=1000000", "status=none")
    run("install", "-m", "751", root / "source", root / "install")
    run("mv", root / "cp", root / "mv")
    run("truncate", "-s", "+5", root / "mv")
    run("sed", "-i", "s/some/SOME/", root / "mv")
    return [look(path) for path in sorted(root.iterdir())]
