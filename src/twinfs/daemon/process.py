"""The two ways a process takes a volume: to serve it, or to drain it without a mount."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from twinfs.daemon import config, logfile
from twinfs.daemon.groups import first_cause
from twinfs.daemon.lock import VolumeLock
from twinfs.daemon.paths import Paths
from twinfs.daemon.request import MountRequest
from twinfs.model import Action, Order, Progress, Survey, VolumeConfig

if TYPE_CHECKING:
    from twinfs.mirror.volume import Volume


def serve(paths: Paths, request: MountRequest, on_ready: Callable[[], None], *, is_foreground: bool) -> None:
    """Serve the volume until it is unmounted and drained. Raises TwinfsError."""
    import trio

    from twinfs.daemon.supervisor import Supervisor
    from twinfs.fuse import session
    from twinfs.mirror.volume import Volume

    name = request.config.name
    with VolumeLock(paths, name):
        logfile.configure(paths.log_file(name), also_to_stderr=is_foreground)
        # The kernel passes every caller's umask with the request; ours must not take bits away as well.
        os.umask(0)
        volume = Volume.open(request.config, paths.state_dir, degraded=request.is_degraded_ok)
        trio.run(Supervisor(paths, request, volume, session.serve).run, on_ready)


def drain(paths: Paths, settings: VolumeConfig, on_progress: Callable[[Progress], None]) -> None:
    """Drain an unmounted volume here and now. Raises TwinfsError, KeyboardInterrupt.

    Interrupted, it stops between two files; what is done stays done, and the next sync or mount
    goes on from there.
    """
    import trio

    with VolumeLock(paths, settings.name):
        try:
            trio.run(_drain, paths, settings, on_progress)
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
    from twinfs.mirror import offline
    from twinfs.mirror.volume import Volume

    is_promoting = order.action is Action.PROMOTE
    if is_promoting and is_dry_run and (lost := offline.promotion(settings, paths.state_dir)) is not None:
        return lost
    volume = Volume.open(settings, paths.state_dir, degraded=is_promoting, is_forced=order.is_forced)
    if is_promoting and not volume.core.is_secondary_up:
        volume.on_event = _recorder(paths, settings.name)
        volume.tell_notes()
        await volume.close(is_draining=False)
        return f"{volume.pair.primary.path} is the primary now, alone"
    result: list[str | Survey] = []

    async def work() -> None:
        save = partial(config.change_place, paths, settings.name)
        result.append(await volume.recover(order, is_dry_run, on_progress, save))

    await _run(paths, volume, work, on_progress)
    return result[0]


async def _drain(paths: Paths, settings: VolumeConfig, on_progress: Callable[[Progress], None]) -> None:
    from twinfs.mirror.volume import Volume

    volume = Volume.open(settings, paths.state_dir)
    await _run(paths, volume, partial(volume.sync, on_progress), on_progress)


def _recorder(paths: Paths, name: str) -> Callable[[str, str], None]:
    from twinfs.daemon.events import EventLog

    return EventLog(paths.events_file(name), name).append


async def _run(
    paths: Paths,
    volume: Volume,
    work: Callable[[], Awaitable[None]],
    on_progress: Callable[[Progress], None],
) -> None:
    """Work on an open volume, interruptible, and close it."""
    import trio

    volume.on_event = _recorder(paths, volume.config.name)
    # Not trio's own KeyboardInterrupt: that one may strike between any two lines.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def interrupt() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(interrupt)
            await nursery.start(volume.run)
            await work()
            await volume.close(on_progress)
            nursery.cancel_scope.cancel()
            return
    raise KeyboardInterrupt
