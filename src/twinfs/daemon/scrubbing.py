"""Scrubs of one open volume: one at a time, on request or by the volume's own clock."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Awaitable, Callable

import trio

from twinfs.daemon import last_scrub
from twinfs.daemon.paths import Paths
from twinfs.daemon.protocol import ScrubRequest
from twinfs.daemon.scrub_at import seconds_until_next
from twinfs.errors import ScrubError, TwinfsError
from twinfs.mirror.progress import OnProgress
from twinfs.mirror.volume import Volume
from twinfs.model import Mismatch, Progress, ScrubRun, VolumeConfig, VolumeStatus
from twinfs.report import human
from twinfs.scrub.changes import Changes, forget_what_log_names
from twinfs.scrub.options import Options
from twinfs.scrub.plan import Plan
from twinfs.scrub.recorder import Recorder
from twinfs.scrub.runs import interrupted_plan
from twinfs.scrub.scrubber import Scrubber
from twinfs.scrub.store import FILE_NAME

_log = logging.getLogger(__name__)

_MOST_EXAMPLES = 5
_RETRY_SECONDS = 60.0
_RESUME_AFTER_SECONDS = 60.0
"""After a start: what people wait for comes first."""


def before_open(paths: Paths, config: VolumeConfig) -> None:
    """Before a volume is opened, and its log begun anew. A store that fails is the scrub's trouble."""
    try:
        forget_what_log_names(paths.volume_dir(config.name), config.volume_id)
    except (TwinfsError, sqlite3.Error, OSError) as error:
        _log.warning("what is known of the volume's files may be out of date: %s", error)


def open_volume(
    paths: Paths,
    config: VolumeConfig,
    *,
    degraded: bool = False,
    is_forced: bool = False,
    gives_way: bool = True,
) -> tuple[Volume, Scrubs]:
    """As Volume.open, with somebody who notes for the next scrub what the volume changes."""
    before_open(paths, config)
    volume = Volume.open(config, paths.state_dir, degraded=degraded, is_forced=is_forced)
    return volume, Scrubs(paths, volume, gives_way=gives_way)


class Scrubs:
    """Listens to the volume's intent log from now on, and runs scrubs."""

    def __init__(self, paths: Paths, volume: Volume, *, gives_way: bool = True) -> None:
        self._paths = paths
        self._volume = volume
        self._config = volume.config
        self._gives_way = gives_way
        self._directory = paths.volume_dir(volume.config.name)
        core = volume.core
        self._changes = Changes(self._directory, lambda ident: ident in core.stale or ident in core.copying)
        self._recorder = Recorder(core, self._directory, self._changes)
        self._changes.on_cleared = self._recorder.cleared
        core.log.on_record = self._changes.note
        core.log.before_forgetting = self._flush
        self._running: trio.CancelScope | None = None
        self._ended = trio.Event()
        self._doubt_reads()

    def _doubt_reads(self) -> None:
        """What differs may be bad on either leg; on one leg alone nobody is given now this, now that."""
        try:
            found = last_scrub.left_by_last(self._paths, self._config)
        except (TwinfsError, sqlite3.Error, OSError) as error:
            _log.warning("what the last scrub found cannot be read: %s", error)
        else:
            self._volume.content.reads.has_mismatches = found > 0

    def _flush(self) -> None:
        """Never the volume's trouble: its log goes on whatever becomes of the store."""
        try:
            self._changes.flush()
        except (TwinfsError, sqlite3.Error, OSError) as error:
            _log.warning("changes could not be noted for the next scrub: %s", error)

    async def run(
        self,
        request: ScrubRequest,
        on_progress: OnProgress,
        on_mismatch: Callable[[Mismatch], Awaitable[None]],
    ) -> ScrubRun:
        """ScrubError when it cannot run, or one is running."""
        if self._running is not None:
            raise ScrubError(f"volume {self._config.name} is being scrubbed already")
        options = Options(
            Plan.parse(request.plan), request.repair, request.prefer, request.max_rate, self._gives_way
        )
        scope = self._running = trio.CancelScope()
        examples: list[str] = []

        async def tell(mismatch: Mismatch) -> None:
            if not mismatch.repaired:
                self._volume.content.reads.has_mismatches = True
            if not mismatch.repaired and len(examples) < _MOST_EXAMPLES:
                examples.append(f"{mismatch.path} ({mismatch.kind}, bad leg: {mismatch.bad_leg})")
            await on_mismatch(mismatch)

        self._ended = trio.Event()
        run: ScrubRun | None = None
        try:
            with scope:
                scrubber = Scrubber(self._volume, self._paths.state_dir, self._changes, options)
                run = await scrubber.run(on_progress, tell)
        except BaseExceptionGroup as group:
            raise _cause(group) from group
        except sqlite3.Error as error:
            raise ScrubError(f"{self._directory / FILE_NAME}: {error}") from error
        finally:
            self._running = None
            self._ended.set()
        if run is None:
            raise ScrubError(
                f"volume {self._config.name} is being unmounted; the next scrub goes on from here"
            )
        self._doubt_reads()
        self._volume.on_event(*_event(run, examples))
        return run

    async def stop(self) -> None:
        """Before the legs are let go."""
        if self._running is not None:
            self._running.cancel()
            await self._ended.wait()

    def with_last(self, status: VolumeStatus) -> VolumeStatus:
        return last_scrub.with_last(self._paths, self._config, status)

    # By the clock

    async def work(self) -> None:
        """What goes on behind the callers; until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._record)
            nursery.start_soon(self._run_scheduled)

    async def _record(self) -> None:
        """A store that fails is no reason to end the volume: the next scrub begins it anew."""
        while True:
            try:
                await self._recorder.run()
            except (TwinfsError, sqlite3.Error, OSError) as error:
                _log.warning("what was written could not be recorded for the next scrub: %s", error)
                await trio.sleep(_RETRY_SECONDS)

    async def _run_scheduled(self) -> None:
        """Where `scrub_at` is set: then, and after a start what was interrupted."""
        at = self._config.scrub_at
        if at is None:
            return
        plan = await trio.to_thread.run_sync(interrupted_plan, self._directory)
        if plan is not None:
            await trio.sleep(_RESUME_AFTER_SECONDS)
            await self._run_alone(plan)
        while True:
            await trio.sleep(seconds_until_next(at))
            await self._run_alone("full")

    async def _run_alone(self, plan: str) -> None:
        async def on_mismatch(mismatch: Mismatch) -> None:
            """The event at the end tells."""

        def on_progress(progress: Progress) -> None:
            """Nobody watches."""

        try:
            await self.run(ScrubRequest(plan), on_progress, on_mismatch)
        except TwinfsError as error:
            self._volume.on_event("scrub_failed", str(error))


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure: trio groups them."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _event(run: ScrubRun, examples: list[str]) -> tuple[str, str]:
    """(kind, message), see docs/events.md."""
    read = f"{run.plan}: {human.count(run.files, 'object')}, {human.size(run.bytes)} read"
    if not run.mismatches:
        return "scrubbed", f"{read}: both legs are equal"
    if run.mismatches == run.repaired:
        return "mismatches_repaired", f"{read}: {run.mismatches} mismatched, all repaired"
    left = f"{run.mismatches} mismatched, {run.repaired} repaired; left: {', '.join(examples)}"
    return "mismatches_left", f"{read}: {left}{', ...' if len(examples) == _MOST_EXAMPLES else ''}"
