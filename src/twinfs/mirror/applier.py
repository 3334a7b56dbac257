"""One change of names, done on the secondary.

Runs in the secondary's lane only. Idempotent: after a kill the last change may be done a second time.
Where the secondary is not what the change expects (somebody wrote to it, or it was never compared), the
path is handed back to be compared; only errors of the disk itself are raised.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from twinfs.fsio.metadata import child_path, copy_metadata, fd_path, own, own_open, reading_source
from twinfs.fsio.syscalls import RENAME_EXCHANGE, open_beneath, renameat2
from twinfs.fsio.tree import remove_tree
from twinfs.journal.log import IntentLog
from twinfs.journal.records import (
    Create,
    Exclude,
    Link,
    NameChange,
    Remove,
    Rename,
    Swapping,
    parent_of,
    renamed,
    touched_by,
)
from twinfs.mirror.failures import UNEXPECTED, BusyError, is_full, is_leg_failure
from twinfs.mirror.following import GONE, Follower
from twinfs.mirror.unmeant import Unmeant
from twinfs.mirror.versions.keeper import Keeper
from twinfs.mirror.versions.records import Why

_KEPT_DIRECTORIES: Final = 256
_EXCLUDED: Final = "it is excluded now, and may be on this leg only"

Look = Callable[[int], os.stat_result | None]
"""At an open object of the primary; None when that is not the moment."""


class Opening(Protocol):
    """Who makes a file and wants it open for writing. `times_ns` are the (atime, mtime) it is to have."""

    times_ns: tuple[int, int]

    def opened(self, fd: int) -> None: ...


class Applier:
    """The secondary's names. `followers` are told of every rename, so that they end where their file is."""

    def __init__(self, root_fd: int, log: IntentLog) -> None:
        self.root_fd = root_fd
        self.touched: dict[bytes, None] = {}
        """Paths whose times the secondary lacks; filled in the lane, emptied by settling."""
        self.touched_after: tuple[int, frozenset[bytes]] = (0, frozenset())
        """Such paths of an earlier session, under the names they have after the change of that number."""
        self.troubles: list[tuple[bytes, OSError]] = []
        """Objects that the leg refused, for whoever tells people."""
        self.swapping: dict[int, int] = {}
        self.keeps_excluded = False
        """Whether what is excluded may be here only: then it is put aside, not removed."""
        self.is_suspect: Callable[[bytes], bool] = lambda path: False
        """Whether a comparison that covers the path is pending."""
        self.is_kept: Callable[[bytes], bool] = lambda path: False
        """The same of one that keeps what differs: then what goes may be what nobody meant."""
        self.keeper = Keeper(None)
        """What is kept of what goes."""
        self.since_ns = 0
        """When the primary did the change that is about to be applied, since the epoch."""
        self._log = log
        self.followers: set[Follower] = set()
        self._directories: OrderedDict[bytes, int] = OrderedDict()
        self._unmeant = Unmeant(root_fd)

    def directory(self, path: bytes) -> int:
        """An O_PATH descriptor of the directory, the applier's own."""
        fd = self._directories.get(path)
        if fd is not None:
            self._directories.move_to_end(path)
            return fd
        fd = open_beneath(self.root_fd, path, os.O_PATH | os.O_DIRECTORY)
        self._directories[path] = fd
        if len(self._directories) > _KEPT_DIRECTORIES:
            _, oldest = self._directories.popitem(last=False)
            os.close(oldest)
        return fd

    def look_again(self, path: bytes) -> None:
        """Let go of the directory, and of all below it, when another stands there now, or none: somebody may
        have moved or removed it behind the volume's back, and what is made through an old descriptor is
        nowhere."""
        known = self._directories.get(path)
        if known is None:
            return
        try:
            fd = open_beneath(self.root_fd, path, os.O_PATH | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            self.forget(path)
            return
        try:
            if not os.path.sameopenfile(fd, known):
                self.forget(path)
        finally:
            os.close(fd)

    def locate(self, path: bytes) -> tuple[int, bytes]:
        """(descriptor of the parent, name), for calls that take a dir_fd."""
        parent, _, name = path.rpartition(b"/")
        return self.directory(parent), name or b"."

    def proc_path(self, path: bytes) -> bytes:
        """A path for calls that take no dir_fd."""
        return child_path(*self.locate(path))

    def apply(self, number: int, change: NameChange, new: Opening | None = None) -> tuple[bytes, ...]:
        """Do it; returns the paths to compare when that did not work, except for a failing leg. `new` gets
        the file that this makes, open for writing."""
        try:
            return self.attempt(number, change, new)
        except OSError as error:
            if is_leg_failure(error):
                raise
            if is_full(error) and self.keeper.make_room():
                return self.apply(number, change)
            if error.errno not in UNEXPECTED:
                self.troubles.append((change.path, error))
            return (change.source, change.path) if isinstance(change, Rename) else (change.path,)

    def attempt(self, number: int, change: NameChange, new: Opening | None = None) -> tuple[bytes, ...]:
        """The same, with every error raised."""
        self.keeper.at(number, self.since_ns if number else time.time_ns())
        try:
            match change:
                case Rename(is_exchange=True):
                    self._exchange(number, change)
                case Create():
                    return self._create(change, new)
                case Link():
                    return self._link(change)
                case Remove():
                    self._remove(change)
                case Rename():
                    return self._rename(change)
                case Exclude():
                    self._exclude(change)
        finally:
            self.touched.update(dict.fromkeys(touched_by(change)))
        return ()

    def reached(self, number: int) -> None:
        """All changes before `number` are done: earlier paths may join those that follow renames."""
        after, paths = self.touched_after
        if paths and number > after:
            self.touched.update(dict.fromkeys(paths))
            self.touched_after = (0, frozenset())

    def passed_over(self, change: NameChange) -> None:
        """Not done, because a later change undoes it: the directory's times have moved all the same."""
        self.touched[parent_of(change.path)] = None

    def _create(self, change: Create, new: Opening | None) -> tuple[bytes, ...]:
        dir_fd, name = self.locate(change.path)
        kind = stat.S_IFMT(change.mode)
        self.keeper.making(dir_fd, name, change.path)
        try:
            if kind == stat.S_IFREG:
                self._create_file(dir_fd, name, change, new)
                return ()
            if kind == stat.S_IFDIR:
                os.mkdir(name, 0o700, dir_fd=dir_fd)
            elif kind == stat.S_IFLNK:
                os.symlink(change.target, name, dir_fd=dir_fd)
            else:
                os.mknod(name, kind | 0o600, change.rdev, dir_fd=dir_fd)
        except FileExistsError:
            present = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            if stat.S_IFMT(present.st_mode) != kind or kind == stat.S_IFLNK or present.st_size:
                return (change.path,)
        self._own(dir_fd, name, change)
        return ()

    @staticmethod
    def _create_file(dir_fd: int, name: bytes, change: Create, new: Opening | None) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=dir_fd)
        try:
            own_open(fd, change.uid, change.gid)
            os.chmod(fd, stat.S_IMODE(change.mode))
            if new is not None:
                os.utime(fd, ns=new.times_ns)
        except BaseException:
            os.close(fd)
            raise
        if new is None:
            os.close(fd)
        else:
            new.opened(fd)

    def _own(self, dir_fd: int, name: bytes, change: Create) -> None:
        own(child_path(dir_fd, name), change.uid, change.gid, follow=False)
        if not stat.S_ISLNK(change.mode):
            os.chmod(name, stat.S_IMODE(change.mode), dir_fd=dir_fd)

    def _link(self, change: Link) -> tuple[bytes, ...]:
        source_fd, source = self.locate(change.source)
        dir_fd, name = self.locate(change.path)
        self.keeper.making(dir_fd, name, change.path)
        try:
            os.link(source, name, src_dir_fd=source_fd, dst_dir_fd=dir_fd, follow_symlinks=False)
        except FileExistsError:
            present = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            wanted = os.stat(source, dir_fd=source_fd, follow_symlinks=False)
            if (present.st_dev, present.st_ino) != (wanted.st_dev, wanted.st_ino):
                return (change.path,)
        return ()

    def _remove(self, change: Remove) -> None:
        dir_fd, name = self.locate(change.path)
        try:
            if change.is_directory:
                with self.keeper.removing_directory(dir_fd, name, change.path):
                    os.rmdir(name, dir_fd=dir_fd)
                self.forget(change.path)
            elif self.is_kept(change.path):
                self._unmeant.set_aside((dir_fd, name, change.path))
            elif not self.keeper.take(dir_fd, name, change.path, is_torn=change.is_torn):
                os.unlink(name, dir_fd=dir_fd)
        except FileNotFoundError:
            pass  # done before a kill
        self._mark_gone(change.path)

    def _mark_gone(self, path: bytes) -> None:
        """What is on its way to that name must not bring it back."""
        for follower in list(self.followers):
            if follower.path == path:
                follower.path = GONE

    def _rename(self, change: Rename) -> tuple[bytes, ...]:
        old_fd, old = self.locate(change.source)
        new_fd, new = self._way_to(change.path)
        places = (old_fd, old, change.source), (new_fd, new, change.path)
        try:
            if self.is_kept(change.path):
                self._unmeant.make_way(*places)
            with self.keeper.renaming(*places, is_exchange=False, is_torn=change.is_torn):
                os.rename(old, new, src_dir_fd=old_fd, dst_dir_fd=new_fd)
        except FileNotFoundError:
            # Done before a kill, or never there: comparing the target tells.
            return (change.path,)
        self._mark_gone(change.path)
        self._follow(change)
        return ()

    def _way_to(self, path: bytes) -> tuple[int, bytes]:
        """As `locate`. A directory that is missing because a comparison has not got there yet is made: what
        is moved there would else stay behind, and look like something that only the secondary has."""
        try:
            return self.locate(path)
        except FileNotFoundError:
            parent = parent_of(path)
            if not self.is_suspect(parent):
                raise
            above_fd, name = self._way_to(parent)
            self.keeper.making(above_fd, name, parent)
            os.mkdir(name, 0o700, dir_fd=above_fd)
            return self.locate(path)

    def _exchange(self, number: int, change: Rename) -> None:
        """Done twice it would be undone: which file stood where is noted before."""
        old_fd, old = self.locate(change.source)
        new_fd, new = self.locate(change.path)
        present = os.stat(old, dir_fd=old_fd, follow_symlinks=False).st_ino
        if self.swapping.setdefault(number, present) == present:
            self._log.append(number, Swapping(present))
            places = (old_fd, old, change.source), (new_fd, new, change.path)
            with self.keeper.renaming(*places, is_exchange=True):
                renameat2(old, new, old_fd, new_fd, RENAME_EXCHANGE)
        del self.swapping[number]
        self._follow(change)

    def _follow(self, change: Rename) -> None:
        self.forget(change.source)
        self.forget(change.path)
        self.touched = {renamed(path, change): None for path in list(self.touched)}
        for follower in list(self.followers):
            follower.path = renamed(follower.path, change)

    def _exclude(self, change: Exclude) -> None:
        dir_fd, name = self.locate(change.path)
        self.forget(change.path)
        if self.keeps_excluded or self.is_kept(change.path):
            self._unmeant.set_aside((dir_fd, name, change.path), _EXCLUDED)
        else:
            remove_tree(dir_fd, name)

    def copy_metadata(
        self, primary_fd: int, path: bytes, is_wanted: Callable[[os.stat_result], bool] | None = None
    ) -> None:
        """Owner, mode, xattrs and times of one object, as the primary has them now.

        FileNotFoundError when the path leads to an object of the primary that is not wanted.
        """
        with reading_source():
            fd = open_beneath(primary_fd, path, os.O_PATH)
        try:
            if is_wanted is not None and not is_wanted(os.fstat(fd)):
                raise FileNotFoundError(errno.ENOENT, "renamed meanwhile", path)
            dir_fd, name = self.locate(path)
            own_fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
            try:
                # The link in /proc of an O_PATH descriptor is the object itself, a symbolic link too.
                copy_metadata(fd_path(fd), fd_path(own_fd), follow=True)
            finally:
                os.close(own_fd)
        finally:
            os.close(fd)

    def set_times(self, path: bytes, times_ns: tuple[int, int]) -> None:
        """(atime, mtime) in nanoseconds since the epoch."""
        dir_fd, name = self.locate(path)
        os.utime(name, ns=times_ns, dir_fd=dir_fd, follow_symlinks=False)

    def truncate(self, path: bytes, size: int) -> None:
        dir_fd, name = self.locate(path)
        fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            before = os.fstat(fd)
            if size < before.st_size:
                self.keeper.overwriting_content(dir_fd, name, path, Why.TRUNCATED)
            os.ftruncate(fd, size)
            # The kernel keeps the mtime, and sends it when it has moved.
            os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
        finally:
            os.close(fd)

    def copy_times(self, primary_fd: int, path: bytes, look: Look = os.fstat) -> OSError | None:
        """Only atime and mtime; an object that either leg lacks is left to what is still pending.

        Returns why the secondary refused, if it did, BusyError where `look` at the primary's shows nothing
        to go by; raises when the secondary fails.
        """
        try:
            self._copy_times(primary_fd, path, look)
        except OSError as error:
            if is_leg_failure(error):
                raise
            return error
        return None

    def _copy_times(self, primary_fd: int, path: bytes, look: Look) -> None:
        try:
            dir_fd, name = self.locate(path)
            present = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            with reading_source():
                fd = open_beneath(primary_fd, path, os.O_PATH)
        except OSError as error:
            if error.errno not in UNEXPECTED:
                raise
            return
        try:
            wanted = look(fd)
        finally:
            os.close(fd)
        if wanted is None:
            raise BusyError(path)
        if present.st_mtime_ns != wanted.st_mtime_ns:
            times = (wanted.st_atime_ns, wanted.st_mtime_ns)
            os.utime(name, ns=times, dir_fd=dir_fd, follow_symlinks=False)

    def forget(self, path: bytes) -> None:
        """What is known of the directory and all below it; call it when it goes or moves."""
        below = path + b"/"
        for known in [k for k in self._directories if k == path or k.startswith(below)]:
            os.close(self._directories.pop(known))

    def take_over(self, other: Applier) -> None:
        """Go on for one that was given up: what it knew of the secondary's names, no descriptors.

        Versions are on the disk.
        """
        self.touched = dict(other.touched)
        self.touched_after = other.touched_after
        self.swapping = dict(other.swapping)
        self.keeps_excluded = other.keeps_excluded
        self.is_suspect, self.is_kept = other.is_suspect, other.is_kept

    def close(self) -> None:
        for fd in self._directories.values():
            os.close(fd)
        self._directories.clear()
        self.keeper.close()
