"""Where the secondary's files go that the volume does not know: aside, never away."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from typing import Final

from twinfs.mirror.aside import copy_aside

QUARANTINE: Final = b".twinfs/quarantine"


class Quarantine:
    """A folder a session, made when first needed: `.twinfs/quarantine/TIME/their/old/path`."""

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._folder = QUARANTINE + datetime.now(UTC).strftime("/%Y%m%dT%H%M%S.%f").encode()
        self.moved = 0

    @property
    def folder(self) -> str:
        return os.fsdecode(self._folder)

    def take(self, dir_fd: int, name: bytes, path: bytes) -> None:
        """Move the object at `name` in the open directory, `path` from the root, into quarantine.

        One rename(2): a kill leaves it in the one place or the other. Of a file with other names a copy
        goes there, because what those get from now on is not its; a kill may leave it in both places. A
        name that is taken there already gets a number.
        """
        self.put_away(dir_fd, name, self.place_for(path))

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

    def keep_copy(self, path: bytes, fd: int) -> None:
        """Keep the content of the open file, which stays where it is, as what was at `path`. In any
        thread."""
        self._copy(fd, self.place_for(path))
        self.moved += 1

    def _copy(self, source: int, target: bytes) -> None:
        os.rename(
            copy_aside(self._root_fd, source), target, src_dir_fd=self._root_fd, dst_dir_fd=self._root_fd
        )

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
