"""What is kept of each change of the secondary, just before it is done.

Runs in the secondary's lane. Nothing here fails: what cannot be kept is gone, as it would be without
versions, and `trouble` says why. Order of every change: its record, the object, the change itself. So what
both disks hold when the process dies is what they hold without versions, and at most one more name of the
object, or a record without one; `settling.py` takes those away.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from twinfs.fsio.metadata import child_path, read_xattrs
from twinfs.mirror.aside import TooLargeError, copy_aside
from twinfs.mirror.failures import is_full
from twinfs.mirror.versions.bounds import Bounds
from twinfs.mirror.versions.objects import linked, linking, of_file, status_at, store
from twinfs.mirror.versions.records import NOTHING, Changed, Gone, Kept, Made, Moved, Record, Why
from twinfs.mirror.versions.settling import kept_from
from twinfs.mirror.versions.shelf import Shelf
from twinfs.mirror.versions.window import COPY_BYTES, Window

_T = TypeVar("_T")


class Keeper:
    """`Keeper(None)` keeps nothing, and costs nothing."""

    def __init__(self, shelf: Shelf | None) -> None:
        self.shelf = shelf
        self._bounds = Bounds()
        self._change = 0
        self._since_ns = 0
        self._is_inside = False
        self.trouble = ""
        """Why something could not be kept; empty while all is well. Whoever tells people empties it."""

    @staticmethod
    def on(root_fd: int, window: Window | None) -> Keeper:
        """The keeper of a leg."""
        return Keeper(None if window is None or root_fd < 0 else window.shelf(root_fd))

    def at(self, change: int, since_ns: int) -> None:
        """What comes is the change of that number in the intent log, and was made then."""
        self._change, self._since_ns = change, max(since_ns, self._since_ns)

    def close(self) -> None:
        if self.shelf is not None:
            self.shelf.close()

    def make_room(self) -> bool:
        """The leg is full, and what people write now comes first: drop the oldest versions. Whether it is
        worth trying again."""
        if self.shelf is None:
            return False
        try:
            return self.shelf.make_room()
        except OSError as error:
            self.trouble = error.strerror or str(error)
            return False

    # Names

    def making(self, dir_fd: int, name: bytes, path: bytes) -> None:
        """A name is about to be made."""
        if self._is_ready() and status_at(dir_fd, name) is None:
            record = Made(self._moment(), self._change, path, os.fstat(dir_fd).st_mtime_ns)
            self._attempt(lambda shelf: shelf.append(record))
            self._bounds.born(path)

    def take(
        self, dir_fd: int, name: bytes, path: bytes, why: Why = Why.DELETED, *, is_torn: bool = False
    ) -> bool:
        """Instead of unlink(2): one rename(2), and the object is a version, unless `is_torn`. False: unlink
        it."""
        status = status_at(dir_fd, name) if self._is_ready() else None
        if status is None or stat.S_ISDIR(status.st_mode):
            return False
        mtime_ns = os.fstat(dir_fd).st_mtime_ns

        def record_of(kept: Kept) -> Record:
            return Gone(self._moment(), self._change, path, mtime_ns, kept, why)

        def put(target_fd: int, target: bytes) -> None:
            os.rename(name, target, src_dir_fd=dir_fd, dst_dir_fd=target_fd)

        return self._keep_object((dir_fd, name, path), status, record_of, put, is_torn=is_torn)

    @contextlib.contextmanager
    def removing_directory(self, dir_fd: int, name: bytes, path: bytes) -> Iterator[None]:
        """Around rmdir(2): what the directory was like is in the record, its content went before it."""
        if not self._is_ready() or (status := status_at(dir_fd, name)) is None:
            yield
            return
        with self._taken_back():
            self._note_directory(dir_fd, name, path, status, Why.DELETED)
            yield

    @contextlib.contextmanager
    def renaming(
        self,
        old: tuple[int, bytes, bytes],
        new: tuple[int, bytes, bytes],
        *,
        is_exchange: bool,
        is_torn: bool = False,
    ) -> Iterator[None]:
        """Around rename(2). Each of `old` and `new` is (descriptor of the directory, name, path).

        What stands at `new`, unless that `is_torn`, gets a second name before: one file or the other is there
        at any moment."""
        moved = status_at(old[0], old[1]) if self._is_ready() else None
        replaced = None if moved is None else status_at(new[0], new[1])
        if moved is None or (replaced is not None and os.path.samestat(moved, replaced)):
            yield  # nothing will happen
            return
        with self._taken_back():
            times = os.fstat(old[0]).st_mtime_ns, os.fstat(new[0]).st_mtime_ns
            record = Moved(self._moment(), self._change, old[2], new[2], is_exchange, *times)
            if not self._is_repeated(record):
                if replaced is not None and not is_exchange:
                    self._note_replaced(new, replaced, is_torn=is_torn)
                self._attempt(lambda shelf: shelf.append(record))
            yield
        if not is_exchange:
            self._bounds.moved(old[2], new[2])

    def _note_replaced(self, new: tuple[int, bytes, bytes], status: os.stat_result, *, is_torn: bool) -> None:
        dir_fd, name, path = new
        if stat.S_ISDIR(status.st_mode):
            self._note_directory(dir_fd, name, path, status, Why.REPLACED)
            return
        mtime_ns = os.fstat(dir_fd).st_mtime_ns

        def record_of(kept: Kept) -> Record:
            return Gone(self._moment(), self._change, path, mtime_ns, kept, Why.REPLACED)

        self._keep_object(new, status, record_of, linking(dir_fd, name), is_torn=is_torn)

    def _keep_object(
        self,
        where: tuple[int, bytes, bytes],
        status: os.stat_result,
        record_of: Callable[[Kept], Record],
        put: Callable[[int, bytes], None],
        *,
        is_torn: bool,
    ) -> bool:
        """Whether the object is a version now; the record is written either way."""
        dir_fd, name, path = where
        if status.st_nlink > 1:
            # Nothing of it is lost: it has other names. Moved here it would still count as one of them.
            kept = linked(dir_fd, name, status)
        elif not is_torn and self._is_whole(status) and self._bounds.is_object_due(path):
            if self._attempt(lambda shelf: store(shelf, status, record_of, put)):
                self._bounds.kept(path)
                return True
            kept = kept_from(status, NOTHING)
        else:
            kept = kept_from(status, NOTHING)
            self._forget_filling(status)
        self._attempt(lambda shelf: shelf.append(record_of(kept)))
        return False

    def _note_directory(
        self, dir_fd: int, name: bytes, path: bytes, status: os.stat_result, why: Why
    ) -> None:
        def note(shelf: Shelf) -> None:
            xattrs = read_xattrs(child_path(dir_fd, name))
            kept = kept_from(status, NOTHING)
            kept = Kept(
                NOTHING, kept.mode, kept.uid, kept.gid, 0, kept.mtime_ns, kept.ino, kept.links, xattrs=xattrs
            )
            mtime_ns = os.fstat(dir_fd).st_mtime_ns
            shelf.append(Gone(self._moment(), self._change, path, mtime_ns, kept, why))

        self._attempt(note)

    # Contents

    @contextlib.contextmanager
    def replacing_content(
        self, dir_fd: int, name: bytes, path: bytes, since_ns: int | None
    ) -> Iterator[None]:
        """Around the rename(2) that puts a new file with other content in a file's place."""
        status = status_at(dir_fd, name) if self._is_ready() else None
        if status is None or not self._is_due(path, status):
            yield
            if status is not None:
                self._forget_filling(status)
            return

        def record_of(kept: Kept) -> Record:
            return Changed(since_ns or time.time_ns(), 0, path, kept, Why.REWRITTEN)

        with self._taken_back():
            if status.st_nlink > 1:
                kept = linked(dir_fd, name, status)
                self._attempt(lambda shelf: shelf.append(record_of(kept)))
            elif self._attempt(lambda shelf: store(shelf, status, record_of, linking(dir_fd, name))):
                self._bounds.kept(path)
            yield

    def overwriting_content(
        self, dir_fd: int, name: bytes, path: bytes, why: Why, since_ns: int | None = None
    ) -> None:
        """A file is about to be truncated, or written in place by a copy: keep a reflink, or a copy of a
        small one."""
        status = status_at(dir_fd, name) if self._is_ready() else None
        if status is None or not self._is_due(path, status):
            return

        def keep(shelf: Shelf) -> bool:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
            try:
                own = copy_aside(shelf.root_fd, fd, limit_bytes=COPY_BYTES)
            finally:
                os.close(fd)
            try:
                return store(
                    shelf,
                    os.stat(own, dir_fd=shelf.root_fd),
                    lambda kept: Changed(
                        since_ns or time.time_ns(), 0, path, of_file(kept, dir_fd, name, status), why
                    ),
                    lambda fd, target: os.rename(own, target, src_dir_fd=shelf.root_fd, dst_dir_fd=fd),
                )
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(own, dir_fd=shelf.root_fd)
                raise

        if self._attempt(keep):
            self._bounds.kept(path)

    def filling(self, fd: int) -> None:
        """A copy begins to write into the open file: until `filled`, it is no version of anything."""
        if self.shelf is not None:
            ino = os.fstat(fd).st_ino
            self._attempt(lambda shelf: shelf.note_filling(ino))

    def filled(self, fd: int) -> None:
        if self.shelf is not None and self.shelf.filling:
            ino = os.fstat(fd).st_ino
            self._attempt(lambda shelf: shelf.note_filled(ino))

    def _forget_filling(self, status: os.stat_result) -> None:
        """The file goes: its inode number may be another's soon."""
        if self.shelf is not None and status.st_nlink == 1 and status.st_ino in self.shelf.filling:
            self._attempt(lambda shelf: shelf.note_filled(status.st_ino))

    def _is_whole(self, status: os.stat_result) -> bool:
        return self.shelf is not None and status.st_ino not in self.shelf.filling

    def _is_due(self, path: bytes, status: os.stat_result) -> bool:
        is_something = stat.S_ISREG(status.st_mode) and status.st_size > 0
        return is_something and self._is_whole(status) and self._bounds.is_content_due(path, status.st_size)

    # How

    def _is_ready(self) -> bool:
        """Whether anything is kept. What a kill left half done is put right first."""
        if self.shelf is None:
            return False
        try:
            self.shelf.settle()
        except OSError as error:
            self.trouble = error.strerror or str(error)
            return False
        return True

    def _moment(self) -> int:
        return self._since_ns or time.time_ns()

    def _is_repeated(self, record: Moved) -> bool:
        """A kill came between the record and the change, which is done again now: of an exchange, two records
        would say that nothing happened."""
        last = None if self.shelf is None else self.shelf.last_of_before
        if not isinstance(last, Moved) or not record.change:
            return False
        said = (last.change, last.source, last.path, last.is_exchange)
        return said == (record.change, record.source, record.path, record.is_exchange)

    def _attempt(self, work: Callable[[Shelf], _T]) -> _T | None:
        """None: it could not be done, and why is known. A full leg gives up its oldest versions first."""
        while self.shelf is not None:
            try:
                # What belongs together is in one segment.
                self.shelf.open(may_end=not self._is_inside)
                return work(self.shelf)
            except TooLargeError:
                return None
            except OSError as error:
                if is_full(error) and self.make_room():
                    continue
                self.trouble = error.strerror or str(error)
                return None
        return None

    @contextlib.contextmanager
    def _taken_back(self) -> Iterator[None]:
        """What is written in here is forgotten when the change fails."""
        shelf = self.shelf
        if shelf is None or self._attempt(lambda shelf: shelf.open(may_end=True)) is None:
            yield
            return
        place = shelf.place
        self._is_inside = True
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                shelf.go_back_to(place)
            raise
        finally:
            self._is_inside = False
