"""A file that the primary cannot read: answered from the secondary, and written anew on the primary.

In place: the range could not be read, so nothing is lost by writing it, and a disk gives a bad sector a
new place when it is written. What was written is read back from the disk before the file counts as whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from twinfs.fsio.copy import read_whole
from twinfs.fsio.metadata import fd_path
from twinfs.mirror.core import Core
from twinfs.mirror.failures import is_shortage
from twinfs.mirror.nodes import Node

_BLOCK_BYTES: Final = 4096
_MOST_QUEUED: Final = 1000
_DECENCY_SECONDS: Final = 5.0


class Mender:
    """Answers reads that failed, and mends behind the callers. `on_event` is told (kind, message)."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._queue: dict[tuple[int, int], int] = {}
        self._woken = trio.Event()
        self.on_event: Callable[[str, str], None] = lambda kind, message: None

    async def read(self, node: Node, offset: int, size: int) -> bytes | None:
        """What the secondary has there, if it is in sync for this object; None if it is not."""
        data = await self._read_secondary(node, offset, size)
        if data is not None and len(self._queue) < _MOST_QUEUED:
            start = offset - offset % _BLOCK_BYTES
            self._queue[node.ident, start] = max(
                self._queue.get((node.ident, start), 0), offset + len(data) - start
            )
            self._woken.set()
        return data

    def _is_in_sync(self, node: Node, path: bytes) -> bool:
        core, mark = self._core, node.stale
        is_known = core.is_secondary_up and node.ident not in core.copying and not core.is_suspect(path)
        return is_known and (mark is None or not (mark.is_behind or mark.in_flight))

    async def _read_secondary(self, node: Node, offset: int, size: int) -> bytes | None:
        core, attachment = self._core, self._core.attachment
        path = core.mirrored_path(node)
        if path is None or not self._is_in_sync(node, path) or not await self._is_proven(node, path):
            return None
        number = core.names_number

        def find() -> int:
            core.catch_up(number)
            dir_fd, name = attachment.applier.locate(path)
            return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)

        try:
            fd = await attachment.lane.run(find)
            data = await attachment.call(partial(_read_and_close, fd, offset, size))
        except OSError:
            return None
        # Written meanwhile: what was read may be a mixture.
        return data if self._is_in_sync(node, path) else None

    async def _is_proven(self, node: Node, path: bytes) -> bool:
        """What the secondary's disk may have lost must not become the primary's."""
        core = self._core
        if node.stale is None and core.is_proven(path):
            return True
        try:
            await core.make_secondary_durable()
        except OSError as error:
            if not is_shortage(error):
                core.secondary_failed(error)
            return False
        return core.is_proven(path)

    # Behind the callers

    async def run(self) -> None:
        """Mend what was asked for; until cancelled."""
        while True:
            await self._woken.wait()
            self._woken = trio.Event()
            while self._queue:
                (ident, start), length = self._queue.popitem()
                node = self._core.nodes.get(ident)
                if node is not None:
                    self._core.nodes.pin(node)
                    try:
                        await self._mend(node, start, length)
                    finally:
                        self._core.nodes.unpin(node)

    async def _mend(self, node: Node, start: int, length: int) -> None:
        core = self._core
        released = trio.Event()
        if core.holds.setdefault(node.ident, released) is not released:
            return  # somebody else waits for its writes: the next read that fails asks again
        try:
            with trio.move_on_after(_DECENCY_SECONDS):
                while node.stale is not None and node.stale.in_flight:  # noqa: ASYNC110 - rare
                    await trio.sleep(0.001)
            data = await self._read_secondary(node, start, -(-length // _BLOCK_BYTES) * _BLOCK_BYTES)
            path = core.mirrored_path(node)
            if data is None or path is None:
                return
            text = os.fsdecode(path)
            try:
                if not await trio.to_thread.run_sync(partial(self._write, node, start, data)):
                    return
            except OSError as error:
                self.on_event("error", f"the primary cannot read {text}, nor take it anew: {error.strerror}")
            else:
                what = f"the primary could not read {text} at byte {start}"
                self.on_event("mended", f"{what}: written anew from the secondary")
        finally:
            if core.holds.get(node.ident) is released:
                del core.holds[node.ident]
            released.set()

    def _write(self, node: Node, start: int, data: bytes) -> bool:
        """In a thread; writes of callers are held. False where the node's name leads elsewhere by now."""
        if node.file is not None and node.file.fd >= 0:
            path = fd_path(node.file.fd)
        elif node.parent is not None:
            path = fd_path(self._core.nodes.directory(node.parent)) + b"/" + node.name
        else:
            return False
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            before = os.fstat(fd)
            if self._core.nodes.ident_of(before) != node.ident:
                return False
            written = os.pwrite(fd, data[: max(0, before.st_size - start)], start)
            with contextlib.suppress(PermissionError):
                os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
            os.fsync(fd)
            # Past the page cache, or this would only read back what was just put there.
            os.posix_fadvise(fd, start, written, os.POSIX_FADV_DONTNEED)
            if os.pread(fd, written, start) != data[:written]:
                raise OSError(errno.EIO, "it reads back otherwise")
            return True
        finally:
            os.close(fd)


def _read_and_close(fd: int, offset: int, size: int) -> bytes:
    buffer = bytearray(size)
    try:
        return bytes(buffer[: read_whole(fd, memoryview(buffer), offset)])
    finally:
        os.close(fd)
