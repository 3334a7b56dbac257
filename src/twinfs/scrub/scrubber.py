"""One scrub of an open volume, mounted or not."""

from __future__ import annotations

import logging
import os
import time
from functools import partial
from pathlib import Path
from typing import Final

import trio

from twinfs.errors import LegError, ScrubError
from twinfs.fsio.uncached import method_of
from twinfs.mirror.progress import OnProgress
from twinfs.mirror.volume import Volume
from twinfs.model import Progress, ReadMethod, ScrubRun
from twinfs.scrub.casework import Casework, OnMismatch
from twinfs.scrub.changes import Changes
from twinfs.scrub.leftovers import remove_leftovers
from twinfs.scrub.messages import Order, Position
from twinfs.scrub.options import Options
from twinfs.scrub.process import Reader
from twinfs.scrub.runs import Runs
from twinfs.scrub.store import FILE_NAME, Store
from twinfs.scrub.todo import Links

_log: Final = logging.getLogger(__name__)
_LABEL: Final = b".twinfs/label.json"
_BUSY_SHARE: Final = 0.10
"""Of a processor, for the thread that serves people: some 1,000 requests a second."""
_WATCH_SECONDS: Final = 0.5
_AGAIN_SECONDS: Final = 0.1


class Scrubber:
    """Runs one scrub. The caller holds the volume's lock, or is its daemon."""

    def __init__(self, volume: Volume, state_dir: Path, changes: Changes, options: Options) -> None:
        self._volume = volume
        self._core = volume.core
        self._changes = changes
        self._options = options
        self._path = state_dir / volume.config.name / FILE_NAME
        self._is_read = False
        self._wake = trio.Event()

    async def run(self, on_progress: OnProgress, on_mismatch: OnMismatch) -> ScrubRun:
        """To its end. Cancelled, it goes on where it was with the next scrub of the same plan.

        ScrubError, StateError: it could not run.
        """
        await self._catch_up(on_progress)
        store = Store(self._path)
        try:
            return await self._run(store, on_progress, on_mismatch)
        finally:
            store.close()

    async def _catch_up(self, on_progress: OnProgress) -> None:
        """What the secondary lacks, and the log knows, is no mismatch: bring it up to date first."""
        try:
            await self._volume.sync(on_progress)
        except LegError as error:
            if not self._core.is_secondary_up:
                raise ScrubError(f"cannot scrub without the secondary.\n  {error}") from error
            _log.info("before the scrub: %s", error)

    async def _run(self, store: Store, on_progress: OnProgress, on_mismatch: OnMismatch) -> ScrubRun:
        core, options = self._core, self._options
        methods = self._method(core.primary_fd), self._method(core.applier.root_fd)
        await trio.to_thread.run_sync(self._changes.flush)
        runs = Runs(store)
        run, is_resumed = runs.begin(options.plan.text, methods)
        work = Casework(self._volume, self._changes, self._options, store, run, methods, on_mismatch)
        if is_resumed:
            work.look_again_at_findings()
        if options.is_repairing:
            await trio.to_thread.run_sync(remove_leftovers, core.primary_fd)
            await core.attachment.call(partial(remove_leftovers, core.applier.root_fd))
        reader = Reader(self._order(run, methods))
        started = time.monotonic()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, reader)
                nursery.start_soon(self._tell_changes)
                nursery.start_soon(self._read, reader, on_progress)
                await work.examine_all(self._more)
                nursery.cancel_scope.cancel()
        finally:
            with store.transaction():
                runs.add(run, busy=work.busy, seconds=time.monotonic() - started)
        Links(store).settle(run)
        return runs.end(run)

    def _order(self, run: int, methods: tuple[ReadMethod, ReadMethod]) -> Order:
        return Order(
            store=str(self._path),
            run=run,
            plan=self._options.plan.text,
            excludes=self._volume.config.exclude,
            primary_fd=self._core.primary_fd,
            secondary_fd=self._core.applier.root_fd,
            primary_read=methods[0],
            secondary_read=methods[1],
            max_rate=self._options.max_rate,
        )

    @staticmethod
    def _method(root_fd: int) -> ReadMethod:
        fd = os.open(_LABEL, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root_fd)
        try:
            return method_of(fd)
        finally:
            os.close(fd)

    async def _read(self, reader: Reader, on_progress: OnProgress) -> None:
        def on_position(position: Position) -> None:
            on_progress(
                Progress(
                    position.step,
                    position.files_done,
                    position.files_total,
                    position.bytes_done,
                    position.bytes_total,
                    os.fsdecode(position.current),
                )
            )
            self._wake.set()

        await reader.run(on_position)
        self._is_read = True
        self._wake.set()

    async def _watch(self, reader: Reader) -> None:
        """This thread serves people: what it uses of the processor tells how busy they are."""
        core, legs = self._core, (self._core.primary_fd, self._core.applier.root_fd)
        was_busy = False
        while True:
            before = time.thread_time()
            await trio.sleep(_WATCH_SECONDS)
            if not core.is_secondary_up or legs != (core.primary_fd, core.applier.root_fd):
                raise ScrubError(
                    "a leg failed, or the legs changed their roles; scrub again when both are there"
                )
            is_busy = (time.thread_time() - before) / _WATCH_SECONDS > _BUSY_SHARE
            if self._options.gives_way and is_busy != was_busy:
                was_busy = is_busy
                await reader.give_way(is_busy)

    async def _tell_changes(self) -> None:
        while True:
            await trio.sleep(1)
            await trio.to_thread.run_sync(self._changes.flush)

    async def _more(self) -> bool:
        """Wait until there may be more to examine; False when all was read."""
        if self._is_read:
            return False
        await self._wake.wait()
        self._wake = trio.Event()
        return True
