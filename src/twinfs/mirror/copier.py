"""Bringing one object's content and metadata from the primary to the secondary.

In three steps, because the long one must not hold up the secondary's lane: `begin` (in the lane) opens
both sides, `transfer` (anywhere) moves the bytes, `finish` (in the lane) puts the result in place.

What both disks hold if the process dies: after `begin` and during `transfer`, the secondary has its old
file, whole, and a temporary in `.twinfs/tmp` that the next start removes; after the rename of `finish`,
the new one. Files beyond `REPLACE_BYTES` or with several names are written in place: they may be left
half new, and their mark in the intent log is still set, so they are copied again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from typing import Final

from twinfs.fsio.copy import UnreadableError, copy_range, is_same_content
from twinfs.fsio.metadata import copy_metadata, fd_path, reading_source
from twinfs.fsio.syscalls import clone_file, open_beneath
from twinfs.journal.ranges import Ranges
from twinfs.journal.records import parent_of
from twinfs.mirror.applier import Applier
from twinfs.mirror.folders import TEMPORARY
from twinfs.mirror.following import GONE
from twinfs.mirror.versions.keeper import Keeper
from twinfs.mirror.versions.records import Why

REPLACE_BYTES: Final = 64 * 1024 * 1024


class MovedError(Exception):
    """The path is another object on the primary by now; a later record says where it went."""


class SourceUnreadableError(Exception):
    """The primary does not give the object's content; the secondary is not to blame."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.errno = error.errno


class Copy:
    """One object on its way. `path` follows the secondary's renames while the copy is known to it."""

    def __init__(
        self, path: bytes, ident: int, ranges: Ranges, ident_of: Callable[[os.stat_result], int]
    ) -> None:
        self.path = path
        self.ident = ident
        self.identof_ = ident_of
        self.ranges = ranges
        self.size = 0
        self._source_fd = -1
        self._fd = -1
        self._temporary = b""
        self._was_empty = False
        self._replaces: os.stat_result | None = None
        self.has_replaced = False
        self.is_comparing = False
        """Set before `begin`: read both sides first, and write only if they differ."""
        self.set_aside: Callable[[int], None] | None = None
        """Set before `begin`: given the secondary's old content, open, before that is overwritten. Whatever
        that raises is why this copy failed."""
        self.was_equal = False
        self.since_ns: int | None = None
        """Since when the secondary's content has been an old one (since the epoch), where that is known."""
        self.is_old_whole = True
        """Whether what the secondary has was the file at some time, and is worth a version."""
        self._old_fd = -1

    @property
    def is_replacement(self) -> bool:
        """The old file stays until `finish`: make the new one durable before."""
        return bool(self._temporary)

    @property
    def bytes_to_copy(self) -> int:
        return self.ranges.total_bytes(self.size)

    def begin(self, primary_fd: int, applier: Applier) -> None:
        """Open both sides. FileNotFoundError: the secondary lacks the object."""
        applier.followers.add(self)
        try:
            self._open_source(primary_fd)
            if self.ranges and self._source_fd >= 0:
                self._open_destination(applier)
        except BaseException:
            self.abandon(applier)
            raise

    def _open_source(self, primary_fd: int) -> None:
        if self.path == GONE:
            raise MovedError
        try:
            with reading_source():
                fd = open_beneath(primary_fd, self.path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            raise MovedError from None
        self._source_fd = fd
        status = os.fstat(fd)
        if self.identof_(status) != self.ident:
            raise MovedError
        if not stat.S_ISREG(status.st_mode):
            self.ranges = Ranges()
        self.size = status.st_size
        if self.ranges:
            try:
                self._source_fd = os.open(fd_path(fd), os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise SourceUnreadableError(error) from error
            os.close(fd)

    def _open_destination(self, applier: Applier) -> None:
        dir_fd, name = applier.locate(self.path)
        present = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        if not stat.S_ISREG(present.st_mode):
            raise FileNotFoundError(errno.ENOENT, "another type of object is there", self.path)
        if self.is_comparing and present.st_size == self.size:
            self._old_fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        shares_content = present.st_nlink > 1
        is_hard_linked = os.fstat(self._source_fd).st_nlink > 1
        if not (shares_content and is_hard_linked) and self._can_replace(present):
            self._make_temporary(applier.root_fd, dir_fd, name)
        else:
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(name, flags, dir_fd=dir_fd)
            self._was_empty = not present.st_size
            is_other = not self.is_comparing or present.st_size != self.size
            if is_other and self.is_old_whole:
                where = dir_fd, name, self.path
                applier.keeper.overwriting_content(*where, Why.REWRITTEN, self.since_ns)
            applier.keeper.filling(self._fd)

    def _can_replace(self, present: os.stat_result) -> bool:
        """A new file is filled in place; one with other names must be replaced or they change too."""
        if present.st_nlink > 1:
            return True
        return 0 < present.st_size <= REPLACE_BYTES and self.size <= REPLACE_BYTES

    def _make_temporary(self, root_fd: int, dir_fd: int, name: bytes) -> None:
        temporary = TEMPORARY + b"/%x" % self.ident
        self._replaces = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(temporary, flags, 0o600, dir_fd=root_fd)
        self._temporary = temporary
        if self.bytes_to_copy < self.size:
            old_fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
            try:
                clone_file(self._fd, old_fd)
            except OSError:
                # No reflinks here: the whole file is copied, which is always right.
                self.ranges = Ranges()
                self.ranges.add(0, Ranges.OPEN_END)
            finally:
                os.close(old_fd)

    def transfer(self, on_bytes: Callable[[int], None] | None = None) -> None:
        """Move the bytes."""
        if self._fd < 0:
            return
        size = os.fstat(self._source_fd).st_size
        try:
            self.was_equal = self._old_fd >= 0 and is_same_content(
                self._source_fd, self._old_fd, size, on_bytes
            )
        except UnreadableError as error:
            raise SourceUnreadableError(error) from error
        if self.was_equal:
            return
        if self._old_fd >= 0 and self.set_aside is not None:
            self.set_aside(self._old_fd)
        try:
            for start, end in self.ranges:
                copy_range(self._source_fd, self._fd, start, min(end, size), on_bytes)
        except UnreadableError as error:
            raise SourceUnreadableError(error) from error
        os.ftruncate(self._fd, size)

    def finish(self, applier: Applier) -> None:
        """Set the metadata and put the file in place, under the name that it has on the secondary now."""
        try:
            if self.was_equal:
                self._leave_as_it_is(applier)
            needs_name = self._temporary or self._fd < 0
            if needs_name and self.path == GONE:
                raise MovedError
            source = fd_path(self._source_fd)
            if self._fd >= 0:
                self._copy_metadata_to_open_file(source)
                applier.keeper.filled(self._fd)
                self._was_empty = False
            else:
                self._copy_metadata_by_name(source, applier)
            if self._temporary:
                dir_fd, name = applier.locate(self.path)
                self._check_still_replaceable(dir_fd, name)
                keeper = applier.keeper if self.is_old_whole else Keeper(None)
                with keeper.replacing_content(dir_fd, name, self.path, self.since_ns):
                    os.rename(self._temporary, name, src_dir_fd=applier.root_fd, dst_dir_fd=dir_fd)
                self._temporary = b""
                applier.touched[parent_of(self.path)] = None
                self.has_replaced = True
        finally:
            self.abandon(applier)

    def _leave_as_it_is(self, applier: Applier) -> None:
        applier.keeper.filled(self._fd)
        os.close(self._fd)
        self._fd = -1
        if self._temporary:
            os.unlink(self._temporary, dir_fd=applier.root_fd)
            self._temporary = b""

    def _check_still_replaceable(self, dir_fd: int, name: bytes) -> None:
        """A link made meanwhile is to the old file: it must get the new content too, so in place."""
        present = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        is_linked = present.st_nlink > 1 and os.fstat(self._source_fd).st_nlink > 1
        if is_linked or self._replaces is None or not os.path.samestat(present, self._replaces):
            raise MovedError

    def _copy_metadata_to_open_file(self, source: bytes) -> None:
        copy_metadata(source, fd_path(self._fd), follow=True)

    def _copy_metadata_by_name(self, source: bytes, applier: Applier) -> None:
        # /proc/self/fd/N of an O_PATH descriptor of a symbolic link is that link: follow one step.
        dir_fd, name = applier.locate(self.path)
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            copy_metadata(source, fd_path(fd), follow=True)
        finally:
            os.close(fd)

    def abandon(self, applier: Applier) -> None:
        """Close, and remove what was not put in place."""
        applier.followers.discard(self)
        if self._fd >= 0 and self._was_empty:
            # A part of a file is no use, and on a full leg it takes the room that the whole one needs.
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
        for fd in (self._source_fd, self._fd, self._old_fd):
            if fd >= 0:
                os.close(fd)
        self._source_fd = self._fd = self._old_fd = -1
        if self._temporary:
            # What stays goes with the next start; a leg that fails says so to whoever works on it.
            with contextlib.suppress(OSError):
                os.unlink(self._temporary, dir_fd=applier.root_fd)
            self._temporary = b""
