"""Bringing back what was: looked at first, then written, by ordinary system calls, into any directory.

Into the mounted volume these calls go its normal way. Nothing that is there is lost: what is equal stays,
what differs is a conflict, found before anything is written. A file appears under its name when it is whole.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from twinfs.fsio.beneath import located
from twinfs.fsio.copy import copy_range
from twinfs.fsio.metadata import child_path, copy_metadata, fd_path, own, reading_source, write_xattrs
from twinfs.fsio.syscalls import RENAME_NOREPLACE, open_beneath, renameat2
from twinfs.mirror.versions.past import Found, Object, PastTree, status_of

OnFile = Callable[[bytes, int], None]
"""Told of each path that is done, and its bytes."""


@dataclass(frozen=True, slots=True)
class Item:
    """`target` is from the destination's directory; `names` are those in a directory."""

    target: bytes
    what: Object
    found: Found | None = None
    names: frozenset[bytes] = frozenset()


@dataclass(slots=True)
class Plan:
    """What is to be made. `equal` is there already, `conflicts` are there and differ, `lost` cannot be
    had."""

    directories: list[Item] = field(default_factory=list)
    files: list[Item] = field(default_factory=list)
    equal: list[Item] = field(default_factory=list)
    conflicts: list[bytes] = field(default_factory=list)
    blocked: list[bytes] = field(default_factory=list)
    """Of those, what cannot be replaced by force either: a directory where a file was, or the reverse."""
    lost: list[bytes] = field(default_factory=list)
    bytes: int = 0


def plan(tree: PastTree, path: bytes, target_fd: int, target: bytes) -> Plan:
    """Everything at and below `path` then, to be `target` in the open directory. FileNotFoundError: there was
    nothing at that path."""
    found = Plan()
    wanted = tree.find(path)
    if wanted is None:
        raise FileNotFoundError(path)
    pending = [(target, wanted)]
    while pending:
        place, what = pending.pop()
        if what.is_directory:
            children = list(tree.children(what))
            names = frozenset(name for name, _ in children)
            _plan_directory(found, target_fd, Item(place, what, names=names))
            below = ((place + b"/" + name if place else name, child) for name, child in children)
            pending.extend(reversed(list(below)))
        else:
            _plan_file(found, target_fd, Item(place, what, tree.locate(what)))
    return found


def _plan_directory(found: Plan, target_fd: int, item: Item) -> None:
    present = status_of(target_fd, item.target)
    if present is not None and not stat.S_ISDIR(present.st_mode):
        found.conflicts.append(item.target)
        found.blocked.append(item.target)
    found.directories.append(item)


def _plan_file(found: Plan, target_fd: int, item: Item) -> None:
    present = status_of(target_fd, item.target)
    if item.found is None:
        found.lost.append(item.target)
    elif present is None:
        found.files.append(item)
        found.bytes += item.found.status.st_size
    elif _is_equal(target_fd, item, item.found, present):
        found.equal.append(item)
    else:
        found.conflicts.append(item.target)
        if stat.S_ISDIR(present.st_mode):
            found.blocked.append(item.target)
        found.files.append(item)
        found.bytes += item.found.status.st_size


def _is_equal(target_fd: int, item: Item, found: Found, present: os.stat_result) -> bool:
    wanted = found.status
    if stat.S_IFMT(wanted.st_mode) != stat.S_IFMT(present.st_mode):
        return False
    if stat.S_ISLNK(wanted.st_mode):
        return _link_target(target_fd, item.target) == _link_target(found.root_fd, found.path)
    if stat.S_ISREG(wanted.st_mode):
        return (wanted.st_size, wanted.st_mtime_ns) == (present.st_size, present.st_mtime_ns)
    return wanted.st_rdev == present.st_rdev


def _link_target(root_fd: int, path: bytes) -> bytes:
    with located(root_fd, path) as (dir_fd, name):
        return os.readlink(name, dir_fd=dir_fd)


class Restorer:
    """Does what a plan says. `is_in_place`: the directory is the root of the volume itself, so that a name
    of a file that is still there under another becomes one of its names again. `may_replace` are the targets
    that may be renamed over."""

    def __init__(
        self,
        tree: PastTree,
        target_fd: int,
        on_file: OnFile,
        *,
        is_in_place: bool,
        may_replace: Collection[bytes] = (),
    ) -> None:
        self._may_replace = frozenset(may_replace)
        self._tree = tree
        self._fd = target_fd
        self._on_file = on_file
        self._is_in_place = is_in_place
        self.directories_made = 0
        self._firsts: dict[tuple[int, bytes], bytes] = {}

    def run(self, todo: Plan) -> None:
        """OSError: what was restored until then stays."""
        made = [item for item in todo.directories if self._make_directory(item.target)]
        self.directories_made += len(made)
        self._firsts = {item.found.key: item.target for item in todo.equal if item.found is not None}
        for item in todo.files:
            assert item.found is not None
            self._restore(item.target, item.found)
            self._on_file(item.target, item.found.status.st_size)
        new = {item.target for item in made}
        # Whatever is made in a directory moves its times.
        for item in reversed(todo.directories):
            self._finish_directory(item, is_new=item.target in new)

    def make_parents(self, tree: PastTree, path: bytes) -> None:
        """The directories above what is restored in place, as they were."""
        parts = path.split(b"/")[:-1]
        made = []
        for depth in range(1, len(parts) + 1):
            parent = b"/".join(parts[:depth])
            what = tree.find(parent)
            if self._make_directory(parent) and what is not None:
                made.append(Item(parent, what))
        for item in reversed(made):
            self._finish_directory(item, is_new=True)

    def _make_directory(self, path: bytes) -> bool:
        """False when it is there."""
        if not path:
            return False
        with located(self._fd, path) as (dir_fd, name):
            try:
                os.mkdir(name, 0o700, dir_fd=dir_fd)
            except FileExistsError:
                return False
        return True

    def _finish_directory(self, item: Item, *, is_new: bool) -> None:
        fd = open_beneath(self._fd, item.target, os.O_RDONLY | os.O_DIRECTORY)
        try:
            there = fd_path(fd)
            if is_new:
                self._copy_directory(item.what, there)
            elif frozenset(map(os.fsencode, os.listdir(fd))) != item.names:
                return  # it holds other things, too: it is not the directory of then
            mtime_ns = self._mtime_of(item.what)
            if mtime_ns is not None and os.fstat(fd).st_mtime_ns != mtime_ns:
                os.utime(there, ns=(os.fstat(fd).st_atime_ns, mtime_ns))
        finally:
            os.close(fd)

    def _copy_directory(self, what: Object, there: bytes) -> None:
        present = self._tree.present_path(what)
        if present is not None:
            fd = open_beneath(*present, os.O_PATH)
            try:
                copy_metadata(fd_path(fd), there, follow=True)
            finally:
                os.close(fd)
        elif what.kept is not None:
            own(there, what.kept.uid, what.kept.gid, follow=True)
            write_xattrs(there, what.kept.xattrs, follow=True)
            os.chmod(there, stat.S_IMODE(what.kept.mode))

    def _mtime_of(self, what: Object) -> int | None:
        if what.mtime_ns is not None:
            return what.mtime_ns
        if what.kept is not None:
            return what.kept.mtime_ns
        status = self._tree.status(what)
        return None if status is None else status.st_mtime_ns

    def _restore(self, target: bytes, found: Found) -> None:
        """One file, link or node, under a temporary name first."""
        with located(self._fd, target) as (dir_fd, name):
            temporary = b".twinfs-restore-" + secrets.token_hex(8).encode()
            try:
                self._make(dir_fd, temporary, found)
                flags = 0 if target in self._may_replace else RENAME_NOREPLACE
                renameat2(temporary, name, dir_fd, dir_fd, flags)
            except BaseException:
                if _exists(dir_fd, temporary):
                    os.unlink(temporary, dir_fd=dir_fd)
                raise
        self._firsts.setdefault(found.key, target)

    def _make(self, dir_fd: int, name: bytes, found: Found) -> None:
        first = self._firsts.get(found.key)
        if first is None and self._is_in_place and found.is_present and found.status.st_nlink > 1:
            first = found.path
        if first is not None:
            with located(self._fd, first) as (first_fd, first_name):
                os.link(first_name, name, src_dir_fd=first_fd, dst_dir_fd=dir_fd, follow_symlinks=False)
            return
        with located(found.root_fd, found.path) as (source_fd, source):
            kind = stat.S_IFMT(found.status.st_mode)
            if kind == stat.S_IFREG:
                _copy_file(source_fd, source, dir_fd, name)
                return
            if kind == stat.S_IFLNK:
                os.symlink(os.readlink(source, dir_fd=source_fd), name, dir_fd=dir_fd)
            else:
                os.mknod(name, kind | 0o600, found.status.st_rdev, dir_fd=dir_fd)
            copy_metadata(child_path(source_fd, source), child_path(dir_fd, name))


def _copy_file(source_fd: int, source: bytes, dir_fd: int, name: bytes) -> None:
    old = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source_fd)
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        new = os.open(name, flags, 0o600, dir_fd=dir_fd)
        try:
            size = os.fstat(old).st_size
            copy_range(old, new, 0, size)
            os.ftruncate(new, size)
            with reading_source():
                copy_metadata(fd_path(old), fd_path(new), follow=True)
        finally:
            os.close(new)
    finally:
        os.close(old)


def _exists(dir_fd: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
