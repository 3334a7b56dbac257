"""Hashes of what people have just written, taken while it is still in the page cache.

So that the next scrub can tell which copy is right of files that no scrub has seen yet. Only what the primary
has had since both legs were last equal: a file that was changed behind the volume's back must not pass for
good. Never at the cost of anybody: only what has been left alone for a while, only what is in memory (the
disk is not asked), a little at a time, and nothing while people work on the volume. What is not recorded
here, the next scrub records.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio
from blake3 import blake3

from twinfs.fsio.beneath import located
from twinfs.mirror.core import Core
from twinfs.scrub.changes import Changes
from twinfs.scrub.objects import Objects
from twinfs.scrub.store import FILE_NAME, Store
from twinfs.scrub.views import View, is_same, view_at

_QUIET_SECONDS: Final = 5.0
_TURN_SECONDS: Final = 0.5
_BUSY_SHARE: Final = 0.10
_MOST_WAITING: Final = 20_000
_FILES_A_TURN: Final = 100
_BYTES_A_TURN: Final = 64 * 1024 * 1024
_CHUNK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Waiting:
    """An object that both legs had at `cleared_ns`."""

    ident: int
    path: bytes
    cleared_ns: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A file's hash and metadata as they were after `begun_ns`."""

    path: bytes
    ident: int
    view: View
    content: bytes
    begun_ns: int


class Recorder:
    """Learns from the log what has become equal on both legs, and records what the primary has of it."""

    def __init__(self, core: Core, directory: Path, changes: Changes) -> None:
        self._core = core
        self._path = directory / FILE_NAME
        self._changes = changes
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[float, Waiting]] = {}

    def cleared(self, ident: int, path: bytes) -> None:
        """Both legs have the object; called from any thread. Of too many, the rest is left to the scrub."""
        with self._lock:
            self._waiting.pop(ident, None)
            if len(self._waiting) < _MOST_WAITING:
                waiting = Waiting(ident, path, time.time_ns())
                self._waiting[ident] = time.monotonic() + _QUIET_SECONDS, waiting

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            before = time.thread_time()
            await trio.sleep(_TURN_SECONDS)
            # This thread serves people: what it uses of the processor tells how busy they are.
            if (time.thread_time() - before) / _TURN_SECONDS < _BUSY_SHARE:
                await self.turn()

    async def turn(self) -> None:
        """Some of what has been quiet for long enough."""
        due = self._due()
        if not due:
            return
        # First what is to be forgotten: told later, it would take the new record away again.
        await trio.to_thread.run_sync(self._prepare, due)
        due = [each for each in due if not self._is_changing(each.ident)]
        taken = await trio.to_thread.run_sync(
            _take_all, self._core.primary_fd, due, self._core.nodes.ident_of
        )
        # What changes from here on is told to the store after this, or the store knows it to be later.
        taken = [each for each in taken if not self._is_changing(each.ident)]
        if taken:
            await trio.to_thread.run_sync(self._record, taken)

    def _is_changing(self, ident: int) -> bool:
        core = self._core
        return ident in core.stale or ident in core.copying or self._changes.has_changed(ident)

    def _due(self) -> list[Waiting]:
        now = time.monotonic()
        due: list[Waiting] = []
        with self._lock:
            for at, waiting in self._waiting.values():
                if at > now or len(due) >= _FILES_A_TURN:
                    break  # in the order in which they were cleared
                due.append(waiting)
            for waiting in due:
                del self._waiting[waiting.ident]
        return due

    def _prepare(self, due: list[Waiting]) -> None:
        """With a row of its own, an object that is changed while it is hashed is known to have been."""
        self._changes.flush()
        store = Store(self._path)
        try:
            objects = Objects(store)
            with store.transaction():
                for each in due:
                    objects.id_of(each.path)
        finally:
            store.close()

    def _record(self, taken: list[Taken]) -> None:
        store = Store(self._path)
        try:
            objects = Objects(store)
            with store.transaction():
                for each in taken:
                    identity = objects.id_of(each.path)
                    known = objects.content_of(identity)
                    if known is not None and known.is_about(each.view):
                        continue  # a scrub was here meanwhile, and has seen the disks
                    objects.know_metadata(identity, each.ident, each.view)
                    objects.know_content(
                        identity,
                        each.content,
                        each.view.size,
                        each.view.mtime_ns,
                        begun_ns=each.begun_ns,
                        is_scrubbed=False,
                    )
        finally:
            store.close()


def _take_all(root_fd: int, due: list[Waiting], ident_of: Callable[[os.stat_result], int]) -> list[Taken]:
    left = _BYTES_A_TURN
    found = []
    for waiting in due:
        if left <= 0:
            break
        try:
            taken = _take(root_fd, waiting, ident_of)
        except OSError:
            continue  # gone, renamed, or not in memory any more
        if taken is not None:
            found.append(taken)
            left -= taken.view.size
    return found


def _take(root_fd: int, waiting: Waiting, ident_of: Callable[[os.stat_result], int]) -> Taken | None:
    """None where it is another object by now, or has changed since both legs had it. OSError."""
    begun_ns = time.time_ns()
    with located(root_fd, waiting.path) as (dir_fd, name):
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        view = view_at(dir_fd, name, status)
        if ident_of(status) != waiting.ident or status.st_ctime_ns > waiting.cleared_ns:
            return None
        if not view.is_file or view.size > _BYTES_A_TURN:
            return None
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOATIME | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=dir_fd)
    try:
        content = _hash_cached(fd, view.size)
        if not is_same(status, os.fstat(fd)):
            return None
    finally:
        os.close(fd)
    return Taken(waiting.path, waiting.ident, view, content, begun_ns)


def _hash_cached(fd: int, size: int) -> bytes:
    """OSError EAGAIN when a part of the file is not in the page cache."""
    hasher = blake3()
    buffer = bytearray(min(size, _CHUNK_BYTES))
    offset = 0
    while offset < size:
        count = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
        if count == 0:
            raise OSError(errno.EAGAIN, "it has become shorter")
        hasher.update(memoryview(buffer)[:count])
        offset += count
    return hasher.digest()
