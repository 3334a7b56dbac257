"""Contents: opening, reading, writing, making durable."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from twinfs.fsio.cached import read_cached
from twinfs.fsio.copy import read_whole
from twinfs.fsio.metadata import child_path, fd_path
from twinfs.journal.ranges import Ranges
from twinfs.mirror.core import Core
from twinfs.mirror.failures import PRIMARY_FAILURES, is_leg_failure
from twinfs.mirror.lane import Lane
from twinfs.mirror.mend import Mender
from twinfs.mirror.nodes import Node
from twinfs.mirror.openfile import OpenFile
from twinfs.mirror.reads import Reads
from twinfs.mirror.stale import StaleMark
from twinfs.model import ReadPolicy

_INLINE_BYTES: Final = 64 * 1024
"""Writes up to this size go to the primary's page cache at once; larger ones may be throttled there."""

_SET_ID: Final = stat.S_ISUID | stat.S_ISGID


class Content:
    """Operations on regular files."""

    def __init__(self, core: Core, read_policy: ReadPolicy = ReadPolicy.PRIMARY) -> None:
        self._core = core
        self._primary_lane = Lane("primary-data")
        self.mender = Mender(core)
        self.reads = Reads(core, read_policy)
        self.on_mode_changed: Callable[[Node], None] = lambda node: None

    async def open(self, node: Node, flags: int, *, is_privileged: bool = False) -> None:
        """Open for a caller; the kernel has checked permissions. Balanced by `release`.

        Of a caller who is not privileged, truncating takes set-id bits away, as writing does.
        """
        is_writing = flags & os.O_ACCMODE != os.O_RDONLY
        file = node.file
        if file is None:
            file = OpenFile()
        if is_writing and file.write_fd < 0:
            self._open_for_writing(node, file)
        elif not is_writing and file.fd < 0:
            file.read_fd = os.open(self._path(node), os.O_RDONLY | os.O_CLOEXEC)
        node.file = file
        file.opens += 1
        if flags & os.O_TRUNC:
            try:
                await self.truncate(node, 0, is_privileged=is_privileged)
            except BaseException:
                self.release(node)
                raise

    def _path(self, node: Node) -> bytes:
        if node.file is not None and node.file.fd >= 0:
            return fd_path(node.file.fd)
        if node.parent is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        dir_fd = self._core.nodes.directory(node.parent)
        if stat.S_ISLNK(os.stat(node.name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            # The kernel opens what a link leads to; a link here was put in the file's place.
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return child_path(dir_fd, node.name)

    def _open_for_writing(self, node: Node, file: OpenFile) -> None:
        path = self._path(node)
        try:
            # The kernel's write-back cache reads what surrounds a partial page, also for O_WRONLY.
            file.write_fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except PermissionError:
            file.write_fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def release(self, node: Node) -> None:
        """One handle less."""
        file = node.file
        if file is None:
            return
        file.opens -= 1
        if file.opens <= 0:
            node.file = None
            self._core.close_on_secondary(file)
            file.close_primary()

    async def read(self, node: Node, offset: int, size: int) -> bytes | memoryview:
        """At most `size` bytes; fewer only at the end of the file. What the primary cannot read, the
        secondary answers, if it is in sync for this object."""
        try:
            return await self._read(node, self._file(node), offset, size)
        except OSError as error:
            if error.errno not in PRIMARY_FAILURES:
                raise
            data = await self.mender.read(node, offset, size)
            if data is None:
                raise
            return data

    async def _read(self, node: Node, file: OpenFile, offset: int, size: int) -> memoryview:
        if self.reads.is_shared:
            return await self.reads.read(node, file, offset, size)
        fd = file.read_fd if file.read_fd >= 0 else file.write_fd
        buffer = bytearray(size)
        filled = read_cached(fd, buffer, offset)
        if filled < size and offset + filled < os.fstat(fd).st_size:
            # Not all of it is in the page cache: the rest may have to wait for the disk.
            rest = memoryview(buffer)[filled:]
            filled += await trio.to_thread.run_sync(read_whole, fd, rest, offset + filled)
        return memoryview(buffer)[:filled]

    def _file(self, node: Node) -> OpenFile:
        if node.file is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if node.file.fd < 0:
            # It went with a primary that failed.
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return node.file

    async def write(self, node: Node, offset: int, data: bytes, *, is_privileged: bool = False) -> int:
        """Write to the primary, and in sync mode to the secondary at the same time.

        The mark in the intent log covers both, so it does not matter which leg a kill cuts short: the
        range is copied from the primary again.
        """
        file = self._file(node)
        if not is_privileged:
            await self._strip_set_id(node)
        while (hold := self._core.holds.get(node.ident)) is not None:
            await hold.wait()
        file.changes += 1
        is_first = node.stale is None
        mark = self._core.mark(node, offset, offset + len(data), is_direct=True)
        if mark is None:
            # Without an await since `mark`: should it have asked for a comparison, that sees this write,
            # and the mtime tells it.
            write = _pwrite_keeping_times if node.is_named else _pwrite_all
            written = write(file.write_fd, data, offset)
            await self._core.wait_for_comparison()
            return written
        mark.in_flight += 1
        mark.is_unanswered = is_first
        try:
            if mark.is_behind:
                written = await self._write_primary(file, offset, data)
            else:
                written = await self._write_both(node, file, mark, offset, data)
            mark.answered()
            return written
        finally:
            self._core.write_ended(mark)

    async def _write_primary(self, file: OpenFile, offset: int, data: bytes) -> int:
        if len(data) <= _INLINE_BYTES:
            return _pwrite_keeping_times(file.write_fd, data, offset)
        return await self._primary_lane.run(partial(_pwrite_keeping_times, file.write_fd, data, offset))

    async def _write_both(self, node: Node, file: OpenFile, mark: StaleMark, offset: int, data: bytes) -> int:
        # One at a time: two writes to one place must reach both legs in the same order.
        async with file.order:
            if file.secondary_fd < 0 and not await self._open_secondary(node, file, mark):
                return await self._write_primary(file, offset, data)
            write = partial(_pwrite_keeping_times, file.secondary_fd, data, offset)
            start = partial(self._core.attachment.data.start, write)
            second = start()
            try:
                written = await self._write_primary(file, offset, data)
            except BaseException:
                mark.is_ahead, mark.is_torn = mark.is_ahead or not mark.is_behind, True
                mark.is_behind = True
                with trio.CancelScope(shield=True):
                    await self._core.second_result(start, mark, second)
                raise
            await self._core.second_result(start, mark, second)
            return written

    async def _open_secondary(self, node: Node, file: OpenFile, mark: StaleMark) -> bool:
        """The same file on the secondary, by the name it has there once all earlier changes are done."""
        path = self._core.mirrored_path(node)
        if path is None:
            return False
        applier = self._core.applier

        def find() -> int:
            dir_fd, name = applier.locate(path)
            return os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)

        fd = await self._core.on_secondary(find, mark)
        if fd is None:
            return False
        file.secondary_fd = fd
        return True

    async def _strip_set_id(self, node: Node) -> None:
        """Writing takes set-user-ID and set-group-ID away; as root the legs' kernel would not, and this
        mount told the kernel that we do (FUSE_HANDLE_KILLPRIV_V2, linux/fuse.h)."""
        file = node.file
        is_open = file is not None and file.fd >= 0
        mode = (os.fstat(file.fd) if file is not None and is_open else os.stat(self._path(node))).st_mode
        if not mode & _SET_ID:
            return
        path = self._path(node)
        self._core.mark(node, 0, 0)
        os.chmod(path, stat.S_IMODE(mode) & ~_SET_ID)
        await self._core.mirror_metadata(node)
        self.on_mode_changed(node)

    async def truncate(self, node: Node, size: int, *, is_privileged: bool = False) -> None:
        """Set the size; what is cut off or added reads as zeros. The kernel sends the new mtime itself."""
        path = self._path(node)
        file = node.file
        old_size = os.stat(path).st_size
        if size == old_size:
            return  # the kernel, which keeps the times, does not move them either
        if not is_privileged:
            await self._strip_set_id(node)
        if file is not None:
            file.changes += 1
        is_first = node.stale is None
        mark = self._core.mark(node, min(size, old_size), Ranges.OPEN_END)
        if mark is None:
            self._truncate_primary(path, file, size)
            return
        mark.in_flight += 1
        mark.is_unanswered = is_first
        try:
            self._truncate_primary(path, file, size)
            mark.answered()
            where = self._core.mirrored_path(node)
            if not mark.is_behind and where is not None:
                applier = self._core.applier
                await self._core.on_secondary(lambda: applier.truncate(where, size), mark)
        finally:
            self._core.write_ended(mark)

    @staticmethod
    def _truncate_primary(path: bytes, file: OpenFile | None, size: int) -> None:
        before = os.stat(path)
        # An open descriptor may write what the file's mode now forbids.
        if file is not None and file.write_fd >= 0:
            os.ftruncate(file.write_fd, size)
        else:
            os.truncate(path, size)
        with contextlib.suppress(PermissionError):
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    async def fsync(self, node: Node, *, is_data_only: bool) -> None:
        """Durable where the mode promises it: sync, both legs; batched, the primary and the intent log."""
        file = self._file(node)
        flush = os.fdatasync if is_data_only else os.fsync
        attachment = self._core.attachment
        second_fd = await self._second_for_fsync(node)
        if second_fd >= 0:
            second = partial(attachment.call, partial(_flush_and_close, flush, second_fd))
            beside = partial(self._fsync_secondary, node, second)
        else:
            beside = partial(trio.to_thread.run_sync, self._core.log.fsync)
        await _both(partial(trio.to_thread.run_sync, flush, file.fd), beside)

    async def _second_for_fsync(self, node: Node) -> int:
        """A descriptor of the secondary's file where it has all that was answered; -1 where it has not."""
        core, mark = self._core, node.stale
        path = core.mirrored_path(node)
        if not core.is_mirroring_now or path is None or node.ident in core.copying:
            return -1
        if core.is_suspect(path) or (mark is not None and mark.is_behind):
            return -1
        number, applier = core.names_number, core.applier

        def find() -> int:
            core.catch_up(number)
            dir_fd, name = applier.locate(path)
            return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)

        try:
            return await core.lane.run(find)
        except OSError as error:
            self._distrust(node, error)
            return -1

    async def _fsync_secondary(self, node: Node, second: Callable[[], Awaitable[None]]) -> None:
        try:
            await second()
        except OSError as error:
            self._distrust(node, error)

    def _distrust(self, node: Node, error: OSError) -> None:
        """Which pages were lost is not known, and a second fsync would say nothing: copy it all."""
        mark = self._core.mark(node, 0, Ranges.OPEN_END, is_direct=True)
        if mark is not None:
            self._core.fell_behind(mark, error)

    async def fsync_directory(self, node: Node) -> None:
        """The directory's names are durable on the primary, and in sync mode on the secondary."""
        core = self._core
        fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=core.nodes.directory(node))
        try:
            if core.is_mirroring_now and not core.is_excluded(node.path(), is_directory=True):
                beside = partial(self._fsync_second_directory, node.path(), core.names_number)
            else:
                beside = partial(trio.to_thread.run_sync, core.log.fsync)
            await _both(partial(trio.to_thread.run_sync, os.fsync, fd), beside)
        finally:
            os.close(fd)

    async def _fsync_second_directory(self, path: bytes, number: int) -> None:
        core, attachment = self._core, self._core.attachment

        def find() -> int:
            core.catch_up(number)
            return os.open(b".", os.O_RDONLY | os.O_CLOEXEC, dir_fd=attachment.applier.directory(path))

        try:
            fd = await attachment.lane.run(find)
            await attachment.call(partial(_flush_and_close, os.fsync, fd))
        except OSError as error:
            if is_leg_failure(error):
                core.secondary_failed(error)
            else:
                core.compare_later(path)  # not made there for want of room, perhaps

    def open_anew(self, *, is_old_alive: bool) -> list[int]:
        """The primary is another leg now: open there what is open. What is not there any more is lost to
        who has it open, but for what had been removed when the old leg still answers: that stays there.
        Returns the old descriptors, which calls on their way may still be using."""
        old: list[int] = []
        for node in self._core.nodes.open_files():
            file = node.file
            if file is None or (is_old_alive and node.is_removed):
                continue
            old += {file.read_fd, file.write_fd} - {-1}
            is_reading, is_writing = file.read_fd >= 0, file.write_fd >= 0
            file.changes += 1
            file.forget_sides()
            file.read_fd = file.write_fd = -1
            with contextlib.suppress(OSError):
                if is_writing:
                    self._open_for_writing(node, file)
                elif is_reading:
                    file.read_fd = os.open(self._path(node), os.O_RDONLY | os.O_CLOEXEC)
        self._primary_lane.close()
        self._primary_lane = Lane("primary-data")
        return old

    def close(self) -> None:
        self._primary_lane.close()


async def _both(*works: Callable[[], Awaitable[object]]) -> None:
    """At the same time; when all have ended, the first one's error is raised as it is, in no group."""
    errors: list[OSError] = []

    async def attempt(work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except OSError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for work in works:
            nursery.start_soon(attempt, work)
    if errors:
        raise errors[0]


def _flush_and_close(flush: Callable[[int], None], fd: int) -> None:
    try:
        flush(fd)
    finally:
        os.close(fd)


def _pwrite_keeping_times(fd: int, data: bytes, offset: int) -> int:
    """Write to a leg. With its write-back cache the kernel is the keeper of a file's mtime, and
    sends it when it has moved; ours would be milliseconds later, and a remount would show another."""
    before = os.fstat(fd)
    written = _pwrite_all(fd, data, offset)
    try:
        os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
    except PermissionError:
        pass  # not the owner, as an ordinary user: then it moves
    return written


def _pwrite_all(fd: int, data: bytes, offset: int) -> int:
    """All of `data`, or an error: a short write is a disk that fills up, and the next call says so."""
    written = os.pwrite(fd, data, offset)
    while written < len(data):
        written += os.pwrite(fd, memoryview(data)[written:], offset + written)
    return written
