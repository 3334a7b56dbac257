"""Names: looking up, making, removing, renaming. Primary first; its refusal is the caller's answer."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Final

import msgspec

from twinfs.fsio.metadata import child_path
from twinfs.fsio.syscalls import RENAME_EXCHANGE, RENAME_NOREPLACE, renameat2
from twinfs.journal.records import Create, Exclude, Link, NameChange, Remove, Rename
from twinfs.mirror.core import Core
from twinfs.mirror.label import LABEL_DIRECTORY
from twinfs.mirror.newfile import NewFile
from twinfs.mirror.nodes import ROOT_ID, Node
from twinfs.mirror.openfile import OpenFile

_NEW_FILE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Caller(msgspec.Struct, frozen=True):
    """Who asks: new objects belong to them."""

    uid: int
    gid: int
    umask: int


class Names:
    """Operations on directories' entries. Nodes are returned with the primary's stat.

    New ones are returned with one reference counted, the one that the kernel gets.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._nodes = core.nodes
        self._own = (os.geteuid(), os.getegid())

    def lookup(self, parent: Node, name: bytes) -> tuple[Node, os.stat_result]:
        """What stands at `name`."""
        self._refuse_label(parent, name, errno.ENOENT)
        if name in (b".", b".."):
            node = parent if name == b"." else parent.parent or parent
            return node, os.fstat(self._nodes.directory(node))
        status = os.stat(name, dir_fd=self._nodes.directory(parent), follow_symlinks=False)
        return self._nodes.know(parent, name, status), status

    @staticmethod
    def _refuse_label(parent: Node, name: bytes, code: int) -> None:
        """The legs' own `.twinfs` is not part of the volume."""
        if name == LABEL_DIRECTORY and parent.ident == ROOT_ID:
            raise OSError(code, os.strerror(code))

    async def make(
        self, parent: Node, name: bytes, mode: int, caller: Caller, *, rdev: int = 0, target: bytes = b""
    ) -> tuple[Node, os.stat_result]:
        """A new directory, symbolic link, or special file; `mode` includes the type."""
        dir_fd = self._nodes.directory(parent)

        def act() -> int:
            if stat.S_ISDIR(mode):
                os.mkdir(name, stat.S_IMODE(mode), dir_fd=dir_fd)
            elif stat.S_ISLNK(mode):
                os.symlink(target, name, dir_fd=dir_fd)
            else:
                os.mknod(name, mode, rdev, dir_fd=dir_fd)
            return -1

        return await self._make(parent, name, mode, caller, act, rdev, target)

    async def create(
        self, parent: Node, name: bytes, mode: int, caller: Caller
    ) -> tuple[Node, os.stat_result]:
        """A new regular file, opened for the caller. EEXIST: see the caller in fuse/operations.py."""
        opened = -1
        dir_fd = self._nodes.directory(parent)

        def act() -> int:
            nonlocal opened
            opened = os.open(name, _NEW_FILE, stat.S_IMODE(mode), dir_fd=dir_fd)
            return opened

        new = NewFile()
        try:
            node, status = await self._make(parent, name, stat.S_IFREG | mode, caller, act, new=new)
        except BaseException:
            if opened >= 0:
                os.close(opened)
            new.let_go()
            raise
        if node.file is None:
            node.file = OpenFile()
        node.file.opens += 1
        if node.file.write_fd < 0:
            node.file.write_fd = opened
        else:
            os.close(opened)
        if new.fd >= 0:
            self._core.keep_new(new, node)
        return node, status

    async def _make(
        self,
        parent: Node,
        name: bytes,
        mode: int,
        caller: Caller,
        act: Callable[[], int],
        rdev: int = 0,
        target: bytes = b"",
        new: NewFile | None = None,
    ) -> tuple[Node, os.stat_result]:
        """`act` makes it, and returns a descriptor of it, or -1."""
        self._refuse_label(parent, name, errno.EPERM)
        dir_fd = self._nodes.directory(parent)
        made: list[tuple[Node, os.stat_result, int]] = []

        def change() -> int:
            previous = os.umask(caller.umask)
            try:
                fd = act()
            finally:
                os.umask(previous)
            try:
                self._give_to(caller, dir_fd, name, mode)
                status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False) if fd < 0 else os.fstat(fd)
            except BaseException:
                (os.rmdir if stat.S_ISDIR(mode) else os.unlink)(name, dir_fd=dir_fd)
                raise
            node = self._nodes.know(parent, name, status)
            # The kernel's reference, taken before anybody else can run.
            self._nodes.looked_up(node)
            made.append((node, status, fd))
            return node.ident

        path = parent.child_path(name)
        if self._core.is_excluded(path, is_directory=stat.S_ISDIR(mode)):
            change()
            return made[0][:2]
        names = Create(path, mode & ~caller.umask, caller.uid, caller.gid, rdev, target)
        number = self._core.announce(names, change)
        node, status, fd = made[0]
        # A set-gid directory or an inherited ACL makes the object other than was announced.
        is_as_announced = (status.st_mode, status.st_uid, status.st_gid) == (names.mode, names.uid, names.gid)
        if not is_as_announced or _has_xattrs(dir_fd, name, fd):
            mark = self._core.mark(node, 0, 0, is_done=True)
            if mark is not None:
                mark.in_flight += 1
            try:
                await self._core.mirror_names(number)
                await self._core.mirror_metadata(node)
            finally:
                if mark is not None:
                    mark.in_flight -= 1
        else:
            if new is not None:
                new.times_ns = (status.st_atime_ns, status.st_mtime_ns)
            await self._core.mirror_names(number, new)
        return node, status

    def _give_to(self, caller: Caller, dir_fd: int, name: bytes, mode: int) -> None:
        """New objects belong to who made them, in a set-gid directory to the directory's group."""
        if (caller.uid, caller.gid) != self._own:
            is_inherited = os.fstat(dir_fd).st_mode & stat.S_ISGID
            os.chown(
                name, caller.uid, -1 if is_inherited else caller.gid, dir_fd=dir_fd, follow_symlinks=False
            )
            set_id = mode & (stat.S_ISUID | stat.S_ISGID)
            if set_id and stat.S_ISREG(mode):  # chown(2) cleared them
                os.chmod(name, stat.S_IMODE(mode & ~caller.umask), dir_fd=dir_fd)

    async def link(self, node: Node, parent: Node, name: bytes) -> os.stat_result:
        """Another name for a file."""
        self._refuse_label(parent, name, errno.EPERM)
        dir_fd = self._nodes.directory(parent)
        source_parent, source_name = next(self._nodes.names(node), (None, b""))
        if source_parent is None:
            # Where it was not removed, another object may have its name, which the kernel then looks for.
            code = errno.ENOENT if node.is_removed else errno.ESTALE
            raise OSError(code, os.strerror(code))
        source_fd = self._nodes.directory(source_parent)
        made: list[os.stat_result] = []

        def change() -> int:
            os.link(source_name, name, src_dir_fd=source_fd, dst_dir_fd=dir_fd, follow_symlinks=False)
            made.append(os.stat(name, dir_fd=dir_fd, follow_symlinks=False))
            return self._nodes.know(parent, name, made[0]).ident

        path = parent.child_path(name)
        source = self._core.mirrored_path(node)
        if self._core.is_excluded(path, is_directory=False):
            change()
        elif source is None:
            self._core.compare_later(path)
            change()
            await self._core.wait_for_comparison()
        else:
            await self._core.change_names(Link(source, path), change)
        return made[0]

    async def remove(self, parent: Node, name: bytes, *, is_directory: bool) -> None:
        """unlink(2) or rmdir(2)."""
        self._refuse_label(parent, name, errno.ENOENT)
        dir_fd = self._nodes.directory(parent)
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        ident = self._nodes.ident_of(status)
        node = self._nodes.get(ident)
        is_last = is_directory or status.st_nlink <= 1
        self._core.name_goes(node, parent, name, status)

        def change() -> int:
            if is_directory:
                if node is not None:
                    self._nodes.directory(node)
                os.rmdir(name, dir_fd=dir_fd)
                if node is not None:
                    self._nodes.keep_removed_directory(node)
            else:
                if node is not None and is_last:
                    self._nodes.hold(node, dir_fd, name)
                os.unlink(name, dir_fd=dir_fd)
            self._gone(node, parent, name, is_last=is_last)
            return ident

        path = parent.child_path(name)
        if self._core.is_excluded(path, is_directory=is_directory):
            change()
        else:
            is_torn = self._core.is_torn(node)
            await self._core.change_names(Remove(path, is_directory, is_last, is_torn), change)

    def _gone(self, node: Node | None, parent: Node, name: bytes, *, is_last: bool) -> None:
        if node is None:
            return
        if is_last and node.stale is not None:
            self._core.clear(node)
        self._nodes.forget_name(node, parent, name, is_last=is_last)

    async def rename(self, old: tuple[Node, bytes], new: tuple[Node, bytes], flags: int) -> None:
        """rename(2), with RENAME_NOREPLACE and RENAME_EXCHANGE of renameat2(2)."""
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._refuse_label(*old, errno.ENOENT)
        self._refuse_label(*new, errno.EPERM)
        move = _Move(self._core, old, new, flags)
        if move.is_same_object:
            move.act()  # nothing happens, says rename(2), unless a flag forbids even that
            return
        if not self._core.excludes:
            await self._core.change_names(move.as_record(), move.act)
            return
        number = self._rename_across_excludes(move)
        if number:
            await self._core.mirror_names(number)
        else:
            await self._core.wait_for_comparison()

    def _rename_across_excludes(self, move: _Move) -> int:
        """What the mirrored part of the tree sees of a rename when part of the tree is not mirrored."""
        core = self._core
        is_old_out, is_new_out = move.excluded()
        if is_old_out and is_new_out:
            move.act()
            return 0
        if not is_old_out and not is_new_out:
            if move.is_directory and core.excludes.depends_on_parents():
                core.compare_later(move.old_path)  # which the rename moves along
            return core.announce(move.as_record(), move.act)
        inside = move.old_path if is_new_out else move.new_path
        if is_new_out and not move.is_exchange:
            return core.announce(Exclude(inside), move.act)
        core.compare_later(inside)
        move.act()
        return 0


def _has_xattrs(dir_fd: int, name: bytes, fd: int) -> bool:
    """Whether what was made has inherited an ACL, or a label. `fd`: of it, or -1."""
    names = os.listxattr(child_path(dir_fd, name), follow_symlinks=False) if fd < 0 else os.listxattr(fd)
    return bool(names)


class _Move:
    """One rename: its records, and the act on the primary with what the node table must learn."""

    def __init__(self, core: Core, old: tuple[Node, bytes], new: tuple[Node, bytes], flags: int) -> None:
        self._core = core
        self._nodes = core.nodes
        self._old, self._new, self._flags = old, new, flags
        self._old_fd = self._nodes.directory(old[0])
        self._new_fd = self._nodes.directory(new[0])
        self.is_exchange = bool(flags & RENAME_EXCHANGE)
        self.old_path = old[0].child_path(old[1])
        self.new_path = new[0].child_path(new[1])
        self._moved = os.stat(old[1], dir_fd=self._old_fd, follow_symlinks=False)
        self.is_directory = stat.S_ISDIR(self._moved.st_mode)
        try:
            self._replaced: os.stat_result | None = os.stat(
                new[1], dir_fd=self._new_fd, follow_symlinks=False
            )
        except OSError:
            self._replaced = None  # absent, or a name that rename itself will refuse
        self.is_same_object = self._replaced is not None and os.path.samestat(self._moved, self._replaced)

    def as_record(self) -> NameChange:
        victim = None if self._replaced is None else self._nodes.get(self._nodes.ident_of(self._replaced))
        is_torn = not self.is_exchange and self._core.is_torn(victim)
        ident = self._nodes.ident_of(self._moved)
        return Rename(self.old_path, self.new_path, self.is_exchange, ident, is_torn)

    def excluded(self) -> tuple[bool, bool]:
        return (
            self._core.is_excluded(self.old_path, is_directory=self.is_directory),
            self._core.is_excluded(self.new_path, is_directory=self.is_directory),
        )

    def act(self) -> int:
        (old_parent, old_name), (new_parent, new_name) = self._old, self._new
        ident = self._nodes.ident_of(self._moved)
        node = self._nodes.know(old_parent, old_name, self._moved)
        replaced = self._replaced
        is_same = self.is_same_object
        victim = self._nodes.know(new_parent, new_name, replaced) if replaced is not None else None
        for temporary in (node, victim):
            if temporary is not None:
                self._nodes.pin(temporary)
        try:
            if victim is not None and replaced is not None and not self.is_exchange and not is_same:
                self._core.name_goes(victim, new_parent, new_name, replaced)
                if victim.is_directory:
                    self._nodes.directory(victim)
                elif replaced.st_nlink <= 1:
                    self._nodes.hold(victim, self._new_fd, new_name)
            renameat2(old_name, new_name, self._old_fd, self._new_fd, self._flags)
            if victim is not None and victim.is_directory and not self.is_exchange:
                self._nodes.keep_removed_directory(victim)
            if not is_same:
                self._learn(node, victim)
        finally:
            for temporary in (node, victim):
                if temporary is not None:
                    self._nodes.unpin(temporary)
        return ident

    def _learn(self, node: Node, victim: Node | None) -> None:
        replaced = self._replaced
        if self.is_exchange and victim is not None:
            self._nodes.move(victim, self._new, self._old)
        elif victim is not None and replaced is not None:
            is_last = stat.S_ISDIR(replaced.st_mode) or replaced.st_nlink <= 1
            if is_last and victim.stale is not None:
                self._core.clear(victim)
            self._nodes.forget_name(victim, *self._new, is_last=is_last)
        self._nodes.move(node, self._old, self._new)
