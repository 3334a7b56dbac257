"""What the writers do, so that it can be done again elsewhere from their logs.

Every operation is one that is answered as a whole: names, modes and times at once, content with
close() or fsync(). What a program has written but neither closed nor fsynced may still be in the
kernel's memory only, so nothing here counts on it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
from typing import Any

Operation = list[Any]

# What a caller gets when the daemon has died before it answered.
_DEAD = frozenset((errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ENODEV, errno.ESHUTDOWN))
_DIRECTORIES = (".", "a", "b", "a/deep", "b/deep")
_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)


def random_operation(rng: random.Random) -> Operation:
    """Paths are few, so that operations meet; many fail, and a failure is an answer, too."""
    path, other = (f"{rng.choice(_DIRECTORIES)}/name{rng.randrange(8)}" for _ in range(2))
    directory, other_directory = rng.choice(_DIRECTORIES[1:]), rng.choice(_DIRECTORIES[1:])
    choices: tuple[tuple[int, Operation], ...] = (
        (8, ["put", path, rng.choice((0, 10, 5000, 200_000)), rng.randrange(256)]),
        (4, ["overwrite", path, rng.randrange(100_000), rng.randrange(1, 20_000), rng.randrange(256)]),
        (4, ["journal", rng.randrange(1, 3000), rng.randrange(256)]),
        (4, ["rename", path, other, rng.choice((0, 0, 1, 2))]),
        (2, ["rename", directory, other_directory, rng.choice((0, 2))]),
        (2, ["link", path, other]),
        (3, ["unlink", path]),
        (3, ["mkdir", directory]),
        (1, ["rmdir", directory]),
        (1, ["symlink", other, path]),
        (2, ["chmod", path, rng.choice((0o600, 0o644, 0o755))]),
        (2, ["truncate", path, rng.randrange(100_000)]),
        (2, ["utime", path, rng.randrange(10**18)]),
        (2, ["setxattr", path, rng.randrange(256)]),
    )
    weights, operations = zip(*choices, strict=True)
    chosen: Operation = rng.choices(operations, weights)[0]
    return chosen


def content_path(operation: Operation) -> str | None:
    """The path whose content is unknown while the operation is under way."""
    if operation[0] == "journal":
        return "journal"
    return operation[1] if operation[0] in ("put", "overwrite") else None


class Actor:
    """Does operations below a directory. The journal stays open over many of them, as a database's does."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._journal_fd: int | None = None

    def do(self, operation: Operation) -> str:
        """ "ok" or the errno's name. Raises OSError when nobody answered."""
        name, *arguments = operation
        try:
            getattr(self, f"do_{name}")(*arguments)
        except OSError as error:
            if error.errno in _DEAD:
                raise
            return errno.errorcode[error.errno or 0]
        return "ok"

    def end(self) -> None:
        if self._journal_fd is not None:
            os.close(self._journal_fd)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def do_put(self, path: str, size: int, byte: int) -> None:
        fd = os.open(self._at(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        _write_and_close(fd, bytes([byte]) * size, 0)

    def do_overwrite(self, path: str, offset: int, size: int, byte: int) -> None:
        _write_and_close(os.open(self._at(path), os.O_WRONLY), bytes([byte]) * size, offset)

    def do_journal(self, size: int, byte: int) -> None:
        if self._journal_fd is None:
            self._journal_fd = os.open(self._at("journal"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(self._journal_fd, bytes([byte]) * size)
        os.fsync(self._journal_fd)

    def do_rename(self, old: str, new: str, how: int) -> None:
        paths = self._at(old).encode(), self._at(new).encode()
        if _libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], how) != 0:
            raise OSError(ctypes.get_errno(), "renameat2")

    def do_link(self, old: str, new: str) -> None:
        os.link(self._at(old), self._at(new), follow_symlinks=False)

    def do_unlink(self, path: str) -> None:
        os.unlink(self._at(path))

    def do_mkdir(self, path: str) -> None:
        os.mkdir(self._at(path))

    def do_rmdir(self, path: str) -> None:
        os.rmdir(self._at(path))

    def do_symlink(self, target: str, path: str) -> None:
        os.symlink(target, self._at(path))

    def do_chmod(self, path: str, mode: int) -> None:
        os.chmod(self._at(path), mode)

    def do_truncate(self, path: str, size: int) -> None:
        os.truncate(self._at(path), size)

    def do_utime(self, path: str, mtime_ns: int) -> None:
        os.utime(self._at(path), ns=(1, mtime_ns), follow_symlinks=False)

    def do_setxattr(self, path: str, byte: int) -> None:
        os.setxattr(self._at(path), "user.note", bytes([byte]) * 10)


def _write_and_close(fd: int, data: bytes, offset: int) -> None:
    try:
        os.pwrite(fd, data, offset)
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)  # its error is the answer: the kernel writes back here
