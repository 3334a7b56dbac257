"""The descriptors of one open object, shared by all that opened it ("handle = node")."""

from __future__ import annotations

import contextlib
import os
from contextlib import AbstractAsyncContextManager

import trio

from twinfs.mirror.sides import Sides


class Order:
    """One at a time, first come first served. Where nobody is before one, it costs no round of the loop, as
    trio's own `async with` does."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = trio.Lock()

    async def __aenter__(self) -> None:
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


class OpenFile:
    """Descriptors on the primary, opened as the first caller of each mode needs them.

    `opens` counts handles. `secondary_fd` is opened for writing in sync mode when the object is in
    sync there, and -1 otherwise: the two legs' files are then written together. `sides` is what reads from
    both legs have of it. `changes` grows before the content changes, and when the secondary's file may be
    another: a read from the secondary counts only where it is the same before and after.
    """

    __slots__ = ("changes", "opens", "order", "read_fd", "secondary_fd", "sides", "write_fd")

    def __init__(self) -> None:
        self.opens = 0
        self.read_fd = -1
        self.write_fd = -1
        self.secondary_fd = -1
        self.sides: Sides | None = None
        self.changes = 0
        self.order = Order()

    @property
    def fd(self) -> int:
        """Any descriptor on the primary; -1 when there is none."""
        return self.write_fd if self.write_fd >= 0 else self.read_fd

    def take_secondary(self) -> list[int]:
        """The descriptors on the secondary, now the caller's to close."""
        self.changes += 1
        fds = [self.secondary_fd]
        self.secondary_fd = -1
        if self.sides is not None:
            fds.append(self.sides.take_secondary())
        return [fd for fd in fds if fd >= 0]

    def forget_sides(self) -> None:
        """Before the primary's descriptors go; those of the secondary are for `take_secondary`."""
        sides, self.sides = self.sides, None
        if sides is not None:
            sides.close_primary()

    def close_primary(self) -> None:
        self.forget_sides()
        for fd in {self.read_fd, self.write_fd} - {-1}:
            os.close(fd)
        self.read_fd = self.write_fd = -1


def order_of(file: OpenFile | None) -> AbstractAsyncContextManager[None]:
    """What keeps those apart that write to the secondary's file; of one that is not open, nothing."""
    return contextlib.nullcontext() if file is None else file.order
