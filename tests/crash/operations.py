"""What the writers do, so that it can be done again elsewhere from their logs.

Every operation is one that is answered as a whole: names, modes and times at once, content with close() or fsync().
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
from typing import Any

Operation = list[Any]

# What a caller gets when the daemon has died before it answered.
DEAD = frozenset((errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ENODEV, errno.ESHUTDOWN))

_DIRECTORIES = (".", "a", "b", "a/deep", "b/deep")
_AT_FDCWD = -100
_CONTENT = {"put", "overwrite", "journal"}
_libc = ctypes.CDLL(None, use_errno=True)


def random_operation(rng: random.Random) -> Operation:
    path, other = (f"{rng.choice(_DIRECTORIES)}/name{rng.randrange(8)}" for _ in range(2))
    directory, other_directory = rng.choice(_DIRECTORIES[1:]), rng.choice(_DIRECTORIES[1:])
    kind = rng.randrange(16)
    if kind < 4:
        return ["put", path, rng.choice((0, 10, 5000, 200_000)), rng.randrange(256)]
    return (
        ["overwrite", path, rng.randrange(100_000), rng.randrange(1, 20_000), rng.randrange(256)],
        ["journal", rng.randrange(1, 3000), rng.randrange(256)],
        ["rename", path, other, 0],
        ["rename", path, other, 2],
        ["rename", directory, other_directory, rng.choice((0, 2))],
        ["link", path, other],
        ["unlink", path],
        ["mkdir", directory],
        ["rmdir", directory],
        ["symlink", other, path],
        ["chmod", path, rng.choice((0o600, 0o644, 0o755))],
        ["truncate", path, rng.randrange(100_000)],
    )[kind - 4] if rng.random() < 0.8 else rng.choice(
        (["utime", path, rng.randrange(10**18)], ["setxattr", path, rng.randrange(256)], ["mkdir", directory])
    )  # fmt: skip


class Actor:
    """Does operations below a directory. The journal stays open over many of them, as databases keep theirs."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._journal: int | None = None

    def do(self, operation: Operation) -> str:
        """ "ok" or the errno's name. Raises OSError when nobody answered."""
        name, *arguments = operation
        try:
            getattr(self, "_" + name)(*arguments)
        except OSError as error:
            if error.errno in DEAD:
                raise
            return errno.errorcode[error.errno or 0]
        return "ok"

    def end(self) -> None:
        if self._journal is not None:
            os.close(self._journal)

    def _at(self, path: str) -> str:
        return f"{self.root}/{path}"

    def _put(self, path: str, size: int, byte: int) -> None:
        _write_and_close(os.open(self._at(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), bytes([byte]) * size, 0)

    def _overwrite(self, path: str, offset: int, size: int, byte: int) -> None:
        _write_and_close(os.open(self._at(path), os.O_WRONLY), bytes([byte]) * size, offset)

    def _journal_fd(self) -> int:
        if self._journal is None:
            self._journal = os.open(self._at("journal"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return self._journal

    def _journal(self, size: int, byte: int) -> None:  # type: ignore[no-redef]
        raise NotImplementedError

    def _rename(self, old: str, new: str, how: int) -> None:
        answer = _libc.renameat2(_AT_FDCWD, self._at(old).encode(), _AT_FDCWD, self._at(new).encode(), how)
        if answer != 0:
            raise OSError(ctypes.get_errno(), "renameat2")
