"""The ways a process takes a volume: to serve it, or to drain or scrub it without a mount."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from twinfs.daemon import config, logfile
from twinfs.daemon.groups import first_cause
from twinfs.daemon.lock import VolumeLock
from twinfs.daemon.paths import Paths
from twinfs.daemon.protocol import ScrubRequest
from twinfs.daemon.request import MountRequest
from twinfs.daemon.start import OnReady
from twinfs.errors import TwinfsError
from twinfs.model import Action, Mismatch, Order, Progress, ScrubRun, Survey, VolumeConfig

if TYPE_CHECKING:
    from twinfs.mirror.volume import Volume


def serve(paths: Paths, request: MountRequest, on_ready: OnReady, *, is_foreground: bool) -> None:
    """Serve the volume until it is unmounted and drained. Raises TwinfsError."""
    import trio

    from twinfs.daemon import scrubbing
    from twinfs.daemon.supervisor import Supervisor
    from twinfs.fuse.volume_session import serve as serve_volume

    name = request.config.name
    with VolumeLock(paths, name):
        logfile.configure(paths.log_file(name), also_to_stderr=is_foreground)
        # The kernel passes every caller's umask with the request; ours must not take bits away as well.
        os.umask(0)
        try:
            volume, scrubs = scrubbing.open_volume(paths, request.config, degraded=request.is_degraded_ok)
        except TwinfsError as error:
            _tell_of_refusal(paths, request.config, str(error))
            raise
        supervisor = Supervisor(paths, request, volume, serve_volume, scrubs)
        trio.run(supervisor.run, partial(on_ready, *volume.notes))


def _tell_of_refusal(paths: Paths, config: VolumeConfig, reason: str) -> None:
    """At boot nobody reads what a mount says. An automount tries again and again: people are told hourly."""
    from twinfs.daemon.herald import Herald
    from twinfs.daemon.reminders import Reminders

    herald = Herald(paths, config)
    if Reminders(paths.reminders_file(config.name), herald.tell).is_new("mount_failed"):
        herald.tell("mount_failed", reason)
        herald.close()


def drain(
    paths: Paths,
    settings: VolumeConfig,
    on_progress: Callable[[Progress], None],
    *,
    allow_deletes: bool = False,
) -> None:
    """Drain an unmounted volume here and now. Raises TwinfsError, KeyboardInterrupt.

    Interrupted, it stops between two files; what is done stays done, and the next sync or mount
    goes on from there.
    """
    import trio

    with VolumeLock(paths, settings.name):
        try:
            trio.run(_drain, paths, settings, on_progress, allow_deletes)
        except ExceptionGroup as group:
            raise first_cause(group) from None


def recover(
    paths: Paths,
    settings: VolumeConfig,
    order: Order,
    *,
    is_dry_run: bool,
    on_progress: Callable[[Progress], None],
) -> str | Survey:
    """One of the ways back for an unmounted volume, here and now. Raises TwinfsError, KeyboardInterrupt."""
    import trio

    with VolumeLock(paths, settings.name):
        try:
            return trio.run(_recover, paths, settings, order, is_dry_run, on_progress)
        except ExceptionGroup as group:
            raise first_cause(group) from None


async def _recover(
    paths: Paths,
    settings: VolumeConfig,
    order: Order,
    is_dry_run: bool,
    on_progress: Callable[[Progress], None],
) -> str | Survey:
    from twinfs.daemon import scrubbing
    from twinfs.mirror import offline

    is_promoting = order.action is Action.PROMOTE
    if is_promoting and is_dry_run and (lost := offline.promotion(settings, paths.state_dir)) is not None:
        return lost
    # A leg that is away can be given another disk; not the primary, before it is said who takes its place.
    is_degraded_allowed = is_promoting or (
        order.action is Action.REPLACE and offline.promotion(settings, paths.state_dir) is None
    )
    volume, _ = scrubbing.open_volume(
        paths, settings, degraded=is_degraded_allowed, is_forced=order.is_forced
    )
    if is_promoting and not volume.core.is_secondary_up:
        async with _telling(paths, volume):
            volume.tell_notes()
            await volume.close(is_draining=False)
        return f"{volume.pair.primary.path} is the primary now, alone"
    result: list[str | Survey] = []

    async def work() -> None:
        save = partial(config.change_place, paths, settings.name)
        result.append(await volume.recover(order, is_dry_run, on_progress, save))

    await _run(paths, volume, work, on_progress)
    return result[0]


async def _drain(
    paths: Paths, settings: VolumeConfig, on_progress: Callable[[Progress], None], allow_deletes: bool
) -> None:
    from twinfs.daemon import scrubbing

    volume, _ = scrubbing.open_volume(paths, settings)
    await _run(paths, volume, partial(volume.sync, on_progress, allow_deletes=allow_deletes), on_progress)


@asynccontextmanager
async def _telling(paths: Paths, volume: Volume) -> AsyncIterator[None]:
    """Events reach people from here, too: what is run by cron has nobody who watches."""
    import trio

    from twinfs.daemon.herald import Herald

    herald = Herald(paths, volume.config, lambda: volume.status(pid=None, mountpoint=None))
    volume.on_event = herald.tell
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(herald.close)


async def _run(
    paths: Paths,
    volume: Volume,
    work: Callable[[], Awaitable[None]],
    on_progress: Callable[[Progress], None],
) -> None:
    """Work on an open volume, interruptible, and close it."""
    import trio

    # Not trio's own KeyboardInterrupt: that one may strike between any two lines.
    async with _telling(paths, volume):
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:

                async def interrupt() -> None:
                    async for _ in signals:
                        nursery.cancel_scope.cancel()

                nursery.start_soon(interrupt)
                async with trio.open_nursery() as upkeep:
                    await upkeep.start(volume.run)
                    await work()
                    upkeep.cancel_scope.cancel()
                await volume.close(on_progress)
                nursery.cancel_scope.cancel()
                return
    raise KeyboardInterrupt


def scrub(
    paths: Paths,
    settings: VolumeConfig,
    request: ScrubRequest,
    on_progress: Callable[[Progress], None],
    on_mismatch: Callable[[Mismatch], None],
) -> ScrubRun:
    """Scrub an unmounted volume here and now. Raises TwinfsError; KeyboardInterrupt, after which the next
    scrub goes on from there."""
    import trio

    with VolumeLock(paths, settings.name):
        try:
            return trio.run(_scrub, paths, settings, request, on_progress, on_mismatch)
        except ExceptionGroup as group:
            raise first_cause(group) from None


async def _scrub(
    paths: Paths,
    settings: VolumeConfig,
    request: ScrubRequest,
    on_progress: Callable[[Progress], None],
    on_mismatch: Callable[[Mismatch], None],
) -> ScrubRun:
    import trio

    from twinfs.daemon import scrubbing

    async def tell(mismatch: Mismatch) -> None:
        on_mismatch(mismatch)

    volume, scrubs = scrubbing.open_volume(paths, settings, gives_way=False)
    run: ScrubRun | None = None
    async with _telling(paths, volume):
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            try:
                async with trio.open_nursery() as nursery:

                    async def interrupt() -> None:
                        async for _ in signals:
                            nursery.cancel_scope.cancel()

                    nursery.start_soon(interrupt)
                    await nursery.start(volume.run)
                    run = await scrubs.run(request, on_progress, tell)
                    nursery.cancel_scope.cancel()
            finally:
                with trio.CancelScope(shield=True):
                    await volume.close()
    if run is None:
        raise KeyboardInterrupt
    return run
