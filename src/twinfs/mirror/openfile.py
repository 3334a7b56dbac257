"""The descriptors of one open object, shared by all that opened it ("handle = node")."""

from __future__ import annotations

import os

import trio


class OpenFile:
    """Descriptors on the primary, opened as the first caller of each mode needs them.

    `opens` counts handles. `secondary_fd` is opened for writing in sync mode when the object is in
    sync there, and -1 otherwise: the two legs' files are then written together.
    """

    __slots__ = ("opens", "order", "read_fd", "secondary_fd", "write_fd")

    def __init__(self) -> None:
        self.opens = 0
        self.read_fd = -1
        self.write_fd = -1
        self.secondary_fd = -1
        self.order = trio.Lock()

    @property
    def fd(self) -> int:
        """Any descriptor on the primary; -1 when there is none."""
        return self.write_fd if self.write_fd >= 0 else self.read_fd

    def take_secondary(self) -> int:
        """The descriptor on the secondary, now the caller's to close; -1 when there is none."""
        fd, self.secondary_fd = self.secondary_fd, -1
        return fd

    def close_primary(self) -> None:
        for fd in {self.read_fd, self.write_fd} - {-1}:
            os.close(fd)
        self.read_fd = self.write_fd = -1
