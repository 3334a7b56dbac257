"""Open directories: listing with the primary file system's own cookies.

They stay valid while entries come and go, so a listing neither misses nor repeats what was there all
the time; see telldir(3), getdents(2).
"""

from __future__ import annotations

import errno
import os
from typing import Final

import pyfuse3

from twinfs.fsio.syscalls import DirEntry, list_directory
from twinfs.fuse.convert import entry_of
from twinfs.mirror.label import LABEL_DIRECTORY
from twinfs.mirror.nodes import ROOT_ID, Node, NodeTable

_DOTS: Final = (b".", b"..")


class Directory:
    """One opendir. The kernel asks in small pieces: what one getdents brought is kept for the next."""

    __slots__ = ("_entries", "_era", "_failure", "_fd", "_next_offset", "_nodes", "node")

    def __init__(self, nodes: NodeTable, node: Node) -> None:
        self.node = node
        self._nodes = nodes
        self._era = nodes.era
        self._fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=nodes.directory(node))
        self._entries: list[DirEntry] = []
        self._failure: OSError | None = None
        self._next_offset = -1

    def _more(self, position: int) -> list[DirEntry]:
        """What comes next, the last first; empty at the end."""
        entries = list_directory(self._fd, position)
        if not entries and self._failure is not None:
            raise self._failure
        entries.reverse()
        return entries

    def list(self, offset: int, token: pyfuse3.ReaddirToken) -> None:
        """Fill the kernel's buffer from `offset` on.

        An error is raised only with nothing in the buffer, which cannot be taken back; else it is for the
        kernel's next call. One about a single entry comes at the end: who took the rest for all that there
        is might delete it elsewhere.
        """
        if self._era != self._nodes.era:
            self._open_anew(offset)
        if offset == 0:
            self._failure = None
        if offset != self._next_offset:
            self._entries = []
        position = offset
        while True:
            if not self._entries:
                try:
                    self._entries = self._more(position)
                except OSError:
                    if position == offset:
                        raise
                    break
                if not self._entries:
                    break
            entry = self._entries[-1]
            if not self._reply(entry, token):
                break
            self._entries.pop()
            position = entry.next_offset
        self._next_offset = position

    def _open_anew(self, offset: int) -> None:
        """The other leg is the primary now: its cookies are others, so a listing begins again or fails."""
        if offset:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fd = os.open(
            b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._nodes.directory(self.node)
        )
        os.close(self._fd)
        self._fd, self._era = fd, self._nodes.era

    def _reply(self, entry: DirEntry, token: pyfuse3.ReaddirToken) -> bool:
        """False when the buffer is full. What has gone since it was listed is passed over."""
        name = entry.name
        if name in _DOTS:
            node = self.node if name == b"." else self.node.parent or self.node
            try:
                status = os.stat(name, dir_fd=self._fd)
            except OSError:
                return True
            # The kernel takes no reference for these two, see fuse_direntplus_link in fs/fuse/readdir.c.
            return pyfuse3.readdir_reply(token, name, entry_of(node, status), entry.next_offset)
        if name == LABEL_DIRECTORY and self.node.ident == ROOT_ID:
            return True
        try:
            status = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError as error:
            self._failure = error
            return True
        node = self._nodes.know(self.node, name, status)
        if pyfuse3.readdir_reply(token, name, entry_of(node, status), entry.next_offset):
            self._nodes.looked_up(node)
            return True
        self._nodes.forget(node.ident, 0)
        return False

    def close(self) -> None:
        os.close(self._fd)
