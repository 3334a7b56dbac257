"""What the daemon remembers of the objects that the kernel, or pending work, refers to.

A node is known by the primary's inode number. It remembers one name (its parent and its name there);
the table keeps the further names of hard-linked files. No path is kept: renaming a directory costs
nothing, and a descriptor of a directory follows it wherever it goes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import stat
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

from twinfs.mirror.openfile import OpenFile
from twinfs.mirror.stale import StaleMark

ROOT_ID: Final = 1  # FUSE_ROOT_ID, linux/fuse.h
_FOREIGN_BIT: Final = 1 << 62
_ERA_SHIFT: Final = 56
"""Inode numbers are smaller than that on the file systems there are; those that are not count as foreign."""
_LAST_ERA: Final = (_FOREIGN_BIT >> _ERA_SHIFT) - 1
"""After so many changes of roles in one mount all new numbers are foreign ones."""
_KEPT_DIRECTORIES: Final = 4096
_DEEPEST: Final = 1024
"""Levels of directories. Kept directories are several times as many, so that opening a second one never
closes the first that a call needs."""


class Node:
    """One object. `lookups` are the kernel's references; `refs` are all: those, children that need it for
    their path, and pins."""

    __slots__ = (
        "dir_fd",
        "file",
        "generation",
        "ident",
        "is_directory",
        "is_removed",
        "lookups",
        "name",
        "parent",
        "refs",
        "stale",
    )

    def __init__(self, ident: int, generation: int = 0) -> None:
        self.ident = ident
        self.generation = generation
        self.parent: Node | None = None
        self.name = b""
        self.lookups = 0
        self.refs = 0
        self.dir_fd = -1
        self.is_directory = False
        self.is_removed = False
        self.file: OpenFile | None = None
        self.stale: StaleMark | None = None

    def path(self) -> bytes:
        """Relative to the leg's root; empty for the root itself."""
        parts: list[bytes] = []
        node = self
        while node.parent is not None:
            parts.append(node.name)
            node = node.parent
        parts.reverse()
        return b"/".join(parts)

    def child_path(self, name: bytes) -> bytes:
        path = self.path()
        return path + b"/" + name if path else name

    @property
    def is_named(self) -> bool:
        """False once no known name leads to it."""
        return self.parent is not None or self.ident == ROOT_ID


class NodeTable:
    """All nodes, and the descriptors of the directories used last."""

    def __init__(self, root_fd: int) -> None:
        self._stand_on(root_fd)
        # An ordinary user may be allowed 1,024 descriptors in all.
        self._kept = min(_KEPT_DIRECTORIES, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        self._deepest = min(_DEEPEST, self._kept // 3)
        self._held = 0
        self._era = 0
        self._aliases: dict[int, int] = {}
        self._foreign: dict[tuple[int, int, int], int] = {}
        self._more_names: dict[int, set[tuple[Node, bytes]]] = {}
        self._directories: OrderedDict[Node, None] = OrderedDict()
        self.root = Node(ROOT_ID)
        self.root.dir_fd = root_fd
        self.root.refs = 1
        self.root.is_directory = True
        self._nodes: dict[int, Node] = {ROOT_ID: self.root}

    def _stand_on(self, root_fd: int) -> None:
        status = os.fstat(root_fd)
        self._device = status.st_dev
        self._root_ino = status.st_ino

    def __iter__(self) -> Iterator[Node]:
        return iter(list(self._nodes.values()))

    def __len__(self) -> int:
        return len(self._nodes)

    def __getitem__(self, ident: int) -> Node:
        """The node of a number the kernel gave; ESTALE for one it was never told."""
        try:
            return self._nodes[ident]
        except KeyError:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from None

    def get(self, ident: int) -> Node | None:
        return self._nodes.get(ident)

    def ident_of(self, status: os.stat_result) -> int:
        """The node number: the inode's, with the root's swapped for 1.

        Objects of another file system mounted inside the leg would repeat numbers: they get their own.
        So do those of a leg that became the primary later, unless the kernel knows them already.
        """
        if status.st_dev != self._device or status.st_ino >> _ERA_SHIFT:
            return self._foreign_number(status)
        if status.st_ino == self._root_ino:
            return ROOT_ID
        if self._era:
            known = self._aliases.get(status.st_ino)
            if known is not None:
                return known
            if self._era > _LAST_ERA:
                return self._foreign_number(status)
            return status.st_ino | self._era << _ERA_SHIFT
        return self._root_ino if status.st_ino == ROOT_ID else status.st_ino

    def _foreign_number(self, status: os.stat_result) -> int:
        key = (self._late_era, status.st_dev, status.st_ino)
        return self._foreign.setdefault(key, _FOREIGN_BIT | len(self._foreign))

    @property
    def _late_era(self) -> int:
        return max(0, self._era - _LAST_ERA)

    def standing_for(self, device: int, inode: int) -> Node | None:
        """The node of an object of the primary's, where there is one."""
        if device != self._device or inode >> _ERA_SHIFT:
            ident = self._foreign.get((self._late_era, device, inode), 0)
        elif self._era > _LAST_ERA:
            ident = self._aliases.get(inode) or self._foreign.get((self._late_era, device, inode), 0)
        elif self._era:
            ident = self._aliases.get(inode, inode | self._era << _ERA_SHIFT)
        else:
            ident = self._root_ino if inode == ROOT_ID else inode
        return self._nodes.get(ident)

    def is_foreign(self, status: os.stat_result) -> bool:
        return status.st_dev != self._device

    def know(self, parent: Node, name: bytes, status: os.stat_result) -> Node:
        """The node of what stands at `name`; it now remembers that name."""
        ident = self.ident_of(status)
        node = self._nodes.get(ident)
        if node is None or node.is_removed:
            node = self._make(ident, node)
            node.is_directory = stat.S_ISDIR(status.st_mode)
        if node.parent is parent and node.name == name:
            return node
        if node.ident != ROOT_ID:
            self._add_name(node, parent, name)
        return node

    def _make(self, ident: int, dead: Node | None) -> Node:
        # A number is used again while the kernel still remembers the removed object: another
        # generation tells it apart, and the lookups it owes us are counted on the number.
        node = Node(ident, dead.generation + 1 if dead else 0)
        if dead is not None:
            self._close_directory(dead)
            node.lookups = node.refs = dead.lookups
            dead.refs -= dead.lookups
            dead.lookups = 0
        self._nodes[ident] = node
        return node

    def _add_name(self, node: Node, parent: Node, name: bytes) -> None:
        if node.parent is None:
            node.parent, node.name = parent, name
        else:
            names = self._more_names.setdefault(node.ident, set())
            if (parent, name) in names:
                return
            names.add((parent, name))
        parent.refs += 1

    def forget_name(self, node: Node, parent: Node, name: bytes, *, is_last: bool) -> None:
        """The name is gone. `is_last`: the object has no other name, known or not."""
        names = self._more_names.get(node.ident)
        if names and (parent, name) in names:
            names.discard((parent, name))
            self._release(parent)
        elif node.parent is parent and node.name == name:
            node.parent, node.name = names.pop() if names else (None, b"")
            self._release(parent)
        if names is not None and not names:
            del self._more_names[node.ident]
        if is_last:
            node.is_removed = True

    def move(self, node: Node, old: tuple[Node, bytes], new: tuple[Node, bytes]) -> None:
        """A rename: the name `old` is now `new`."""
        self._add_name(node, *new)
        self.forget_name(node, *old, is_last=False)

    def has_unknown_names(self, node: Node) -> bool:
        """Whether the file has more names than are known here."""
        if node.parent is None:
            return True
        status = os.stat(node.name, dir_fd=self.directory(node.parent), follow_symlinks=False)
        return status.st_nlink > sum(1 for _ in self.names(node))

    def names(self, node: Node) -> Iterator[tuple[Node, bytes]]:
        if node.parent is not None:
            yield node.parent, node.name
        yield from self._more_names.get(node.ident, ())

    def looked_up(self, node: Node) -> None:
        """The kernel got a reference."""
        node.lookups += 1
        node.refs += 1

    def forget(self, ident: int, lookups: int) -> None:
        """The kernel dropped `lookups` references."""
        node = self._nodes.get(ident)
        if node is not None and node is not self.root:
            node.lookups -= lookups
            node.refs -= lookups
            self._drop_if_unused(node)

    def open_files(self) -> list[Node]:
        return [node for node in self._nodes.values() if node.file is not None]

    def pin(self, node: Node) -> None:
        node.refs += 1

    def unpin(self, node: Node) -> None:
        self._release(node)

    def _release(self, node: Node) -> None:
        node.refs -= 1
        self._drop_if_unused(node)

    def _drop_if_unused(self, node: Node) -> None:
        while node.refs <= 0 and node is not self.root:
            if self._nodes.get(node.ident) is node:
                del self._nodes[node.ident]
                for parent, _ in self._more_names.pop(node.ident, set()):
                    self._release(parent)
            self._close_directory(node)
            parent_of = node.parent
            node.parent = None
            if parent_of is None:
                return
            parent_of.refs -= 1
            node = parent_of

    def directory(self, node: Node) -> int:
        """An O_PATH descriptor of the directory on the primary. It is the table's: do not close it."""
        if node.dir_fd >= 0:
            if node in self._directories:
                self._directories.move_to_end(node)
            return node.dir_fd
        # Upwards to the nearest open one, then down again: a path may be thousands of names deep.
        chain = [node]
        while chain[-1].dir_fd < 0:
            parent = chain[-1].parent
            if parent is None:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            chain.append(parent)
        if len(chain) > self._deepest:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        fd = chain.pop().dir_fd
        for below in reversed(chain):
            fd = os.open(below.name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            below.dir_fd = fd
            self._directories[below] = None
            self._close_oldest()
        return fd

    def _close_oldest(self) -> None:
        if len(self._directories) > self._kept:
            oldest, _ = self._directories.popitem(last=False)
            os.close(oldest.dir_fd)
            oldest.dir_fd = -1

    def hold(self, node: Node, dir_fd: int, name: bytes) -> None:
        """Before the last name of something other than a directory goes: keep its inode for as long as the
        kernel remembers it.

        Else its number could be another object's while the kernel still has the old one's times to flush:
        they would become the new object's.
        """
        if node.dir_fd < 0 and self._held < self._kept:
            # Should it not work, what follows says why.
            with contextlib.suppress(OSError):
                node.dir_fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
                self._held += 1

    def keep_removed_directory(self, node: Node) -> None:
        """A removed directory may still be somebody's current one: keep the descriptor, which
        `directory` opened before, until the kernel forgets it."""
        self._directories.pop(node, None)

    def _close_directory(self, node: Node) -> None:
        self._directories.pop(node, None)
        if node.dir_fd >= 0:
            os.close(node.dir_fd)
            node.dir_fd = -1
            self._held -= 0 if node.is_directory else 1

    @property
    def era(self) -> int:
        """How often the tree has moved to the other leg."""
        return self._era

    @property
    def is_renumbered(self) -> bool:
        """Whether numbers are no longer the inodes' own."""
        return self._era != 0

    def move_to(self, root_fd: int, lost: Sequence[Node]) -> list[int]:
        """The tree is another leg's now: what the kernel knows keeps its numbers, and is looked up there
        by its names; what is not there has no name any more. Files are for the caller to open anew.

        What stands there in the place of the `lost` gets new numbers: with its write-back cache the kernel
        holds on to the size that a number had (fuse_change_attributes, linux/fs/fuse/inode.c), and who has
        the file open must not write into one that went back to an earlier state.

        Returns the old descriptors, which calls on their way may still be using; not the root's, which is
        the caller's.
        """
        old = [node.dir_fd for node in self._nodes.values() if node.dir_fd >= 0 and node is not self.root]
        for node in self._nodes.values():
            node.dir_fd = -1
        self._directories.clear()
        self._held = 0
        self._era += 1
        self._aliases = {}
        self._stand_on(root_fd)
        self.root.dir_fd = root_fd
        for node in lost:
            for parent, name in list(self.names(node)):
                self.forget_name(node, parent, name, is_last=False)
        for node in list(self._nodes.values()):
            if node is not self.root and node.parent is not None:
                self._find_again(node)
        return old

    def _find_again(self, node: Node) -> None:
        found = 0
        for parent, name in list(self.names(node)):
            try:
                status = os.stat(name, dir_fd=self.directory(parent), follow_symlinks=False)
            except OSError:
                status = None
            is_it = status is not None and stat.S_ISDIR(status.st_mode) == node.is_directory
            if status is None or not is_it or (found or status.st_ino) != status.st_ino:
                self.forget_name(node, parent, name, is_last=False)
            elif self._aliases.setdefault(status.st_ino, node.ident) == node.ident:
                found = status.st_ino
            else:
                self.forget_name(node, parent, name, is_last=False)

    def close(self) -> None:
        for node in list(self._nodes.values()):
            if node.file is not None:
                node.file.close_primary()
            if node is not self.root:
                self._close_directory(node)
