"""Where the secondary's files go that the volume does not know: aside, never away.

`.twinfs/quarantine/TIME/their/old/path`, a folder a session, and beside it `TIME.jsonl`, a line for each
object: where it was, when, and why (`Note`). What is there is told by mirror/quarantined.py.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

import msgspec

from twinfs.mirror.aside import copy_aside
from twinfs.model import Role

QUARANTINE: Final = b".twinfs/quarantine"
SESSION_FORMAT: Final = "%Y%m%dT%H%M%S.%f"
NOTES_SUFFIX: Final = b".jsonl"

ONLY_THERE: Final = "only this leg had it"


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line. `path` is where it was, `kept_as` what it is called now, from the leg's root; None where
    nothing but metadata was replaced. `bytes` is the size of all of it, None of a directory that was not
    measured yet: a later line for the same object then says it. The `_hex` ones are there where a path is no
    UTF-8, which JSON cannot hold.
    """

    path: str
    leg: str
    time: float
    why: str
    kept_as: str | None
    bytes: int | None = None
    path_hex: str = ""
    kept_as_hex: str = ""


class Quarantine:
    """A folder a session, made when first needed. `leg` is the role of the leg whose root it is."""

    def __init__(self, root_fd: int, leg: Role = Role.SECONDARY) -> None:
        self._root_fd = root_fd
        self._leg = leg
        self._folder = QUARANTINE + b"/" + datetime.now(UTC).strftime(SESSION_FORMAT).encode()
        self.moved = 0

    @property
    def folder(self) -> str:
        return os.fsdecode(self._folder)

    def take(self, dir_fd: int, name: bytes, path: bytes, why: str = ONLY_THERE) -> None:
        """Move the object at `name` in the open directory, `path` from the root, into quarantine.

        One rename(2): a kill leaves it in the one place or the other. Of a file with other names a copy
        goes there, because what those get from now on is not its; a kill may leave it in both places. A
        name that is taken there already gets a number.
        """
        self._unless_purged(partial(self._take, dir_fd, name, path, why))

    def _take(self, dir_fd: int, name: bytes, path: bytes, why: str) -> None:
        target = self.place_for(path)
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        self._note_quietly(path, why, target, size_of(status))
        self.put_away(dir_fd, name, target)

    def put_away(self, dir_fd: int, name: bytes, target: bytes) -> None:
        """As `take`, where `place_for` has said what it is called there."""
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
            try:
                self._copy(source, target)
            finally:
                os.close(source)
            os.unlink(name, dir_fd=dir_fd)
        else:
            os.rename(name, target, src_dir_fd=dir_fd, dst_dir_fd=self._root_fd)
        self.moved += 1

    def place_for(self, path: bytes) -> bytes:
        """Where what was at `path` goes, from the leg's root; its directories are made. A name that is taken
        there already gets a number."""
        parent, name = self._folder, path.rpartition(b"/")[2]
        self._make(QUARANTINE)
        self._make(parent)
        for part in path.split(b"/")[:-1]:
            parent += b"/" + part
            while not self._make(parent):
                parent += b"~"  # a file of that name went there before
        target = parent + b"/" + name
        number = 0
        while self._exists(target):
            number += 1
            target = parent + b"/" + name[:240] + b".%d" % number
        return target

    def keep_copy(self, path: bytes, why: str, fd: int) -> None:
        """Keep the content of the open file, which stays where it is, as what was at `path`. In any
        thread."""
        self._unless_purged(partial(self._keep_copy, path, why, fd))

    def _keep_copy(self, path: bytes, why: str, fd: int) -> None:
        target = self.place_for(path)
        self._note_quietly(path, why, target, os.fstat(fd).st_size)
        self._copy(fd, target)
        self.moved += 1

    def _copy(self, source: int, target: bytes) -> None:
        os.rename(
            copy_aside(self._root_fd, source), target, src_dir_fd=self._root_fd, dst_dir_fd=self._root_fd
        )

    def _unless_purged(self, work: Callable[[], None]) -> None:
        """Once more where the session's folder was purged between the making of a place in it and its use."""
        try:
            work()
        except FileNotFoundError:
            if self._exists(self._folder):
                raise
            work()

    def _note_quietly(self, path: bytes, why: str, target: bytes, size: int | None) -> None:
        # What cannot be noted, on a full disk, is put aside all the same; only why is not known then.
        with contextlib.suppress(OSError):
            self._note(path, why, target, size, is_durable=False)

    def _note(self, path: bytes, why: str, target: bytes | None, size: int | None, is_durable: bool) -> None:
        """Written before the object goes: a note of something that is not there is passed over."""
        note = Note(
            path=_text(path),
            leg=self._leg.value,
            time=time.time(),
            why=why,
            kept_as=None if target is None else _text(target),
            bytes=size,
            path_hex=_hex(path),
            kept_as_hex="" if target is None else _hex(target),
        )
        self._make(self._folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self._folder + NOTES_SUFFIX, flags, 0o600, dir_fd=self._root_fd)
        try:
            os.write(fd, line(note))
            if is_durable:
                os.fsync(fd)
        finally:
            os.close(fd)

    def _make(self, path: bytes) -> bool:
        """A directory; False when something else is there."""
        try:
            os.mkdir(path, 0o700, dir_fd=self._root_fd)
        except FileExistsError:
            status = os.stat(path, dir_fd=self._root_fd, follow_symlinks=False)
            return stat.S_ISDIR(status.st_mode)
        return True

    def _exists(self, path: bytes) -> bool:
        try:
            os.stat(path, dir_fd=self._root_fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True


def line(note: Note) -> bytes:
    return msgspec.json.encode(note) + b"\n"


def size_of(status: os.stat_result) -> int | None:
    """Of what is no directory, without a look at anything else."""
    if stat.S_ISDIR(status.st_mode):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _text(path: bytes) -> str:
    """JSON holds no other bytes than UTF-8."""
    return path.decode("utf-8", "backslashreplace")


def _hex(path: bytes) -> str:
    return "" if _text(path).encode() == path else path.hex()
