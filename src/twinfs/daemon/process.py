"""The ways a process takes a volume: to serve it, or to drain or scrub it without a mount."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from twinfs.daemon import logfile
from twinfs.daemon.groups import first_cause
from twinfs.daemon.lock import VolumeLock
from twinfs.daemon.paths import Paths
from twinfs.daemon.protocol import ScrubRequest
from twinfs.daemon.request import MountRequest
from twinfs.model import Mismatch, Progress, ScrubRun, VolumeConfig


def serve(paths: Paths, request: MountRequest, on_ready: Callable[[], None], *, is_foreground: bool) -> None:
    """Serve the volume until it is unmounted and drained. Raises TwinfsError."""
    import trio

    from twinfs.daemon import scrubbing
    from twinfs.daemon.supervisor import Supervisor
    from twinfs.fuse import session
    from twinfs.mirror.volume import Volume

    name = request.config.name
    with VolumeLock(paths, name):
        logfile.configure(paths.log_file(name), also_to_stderr=is_foreground)
        # The kernel passes every caller's umask with the request; ours must not take bits away as well.
        os.umask(0)
        scrubbing.before_open(paths, request.config)
        volume = Volume.open(request.config, paths.state_dir, degraded=request.is_degraded_ok)
        scrubs = scrubbing.Scrubs(paths, volume)
        trio.run(Supervisor(paths, request, volume, session.serve, scrubs).run, on_ready)


def drain(paths: Paths, config: VolumeConfig, on_progress: Callable[[Progress], None]) -> None:
    """Drain an unmounted volume here and now. Raises TwinfsError, KeyboardInterrupt.

    Interrupted, it stops between two files; what is done stays done, and the next sync or mount
    goes on from there.
    """
    import trio

    with VolumeLock(paths, config.name):
        try:
            trio.run(_drain, paths, config, on_progress)
        except ExceptionGroup as group:
            raise first_cause(group) from None


async def _drain(paths: Paths, config: VolumeConfig, on_progress: Callable[[Progress], None]) -> None:
    import trio

    from twinfs.daemon import scrubbing
    from twinfs.daemon.events import EventLog
    from twinfs.mirror.volume import Volume

    scrubbing.before_open(paths, config)
    volume = Volume.open(config, paths.state_dir)
    scrubbing.Scrubs(paths, volume)
    volume.on_event = EventLog(paths.events_file(config.name), config.name).append
    # Not trio's own KeyboardInterrupt: that one may strike between any two lines.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def interrupt() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(interrupt)
            await nursery.start(volume.run)
            await volume.sync(on_progress)
            await volume.close(on_progress)
            nursery.cancel_scope.cancel()
            return
    raise KeyboardInterrupt


def scrub(
    paths: Paths,
    config: VolumeConfig,
    request: ScrubRequest,
    on_progress: Callable[[Progress], None],
    on_mismatch: Callable[[Mismatch], None],
) -> ScrubRun:
    """Scrub an unmounted volume here and now. Raises TwinfsError; KeyboardInterrupt, after which the next
    scrub goes on from there."""
    import trio

    with VolumeLock(paths, config.name):
        try:
            return trio.run(_scrub, paths, config, request, on_progress, on_mismatch)
        except ExceptionGroup as group:
            raise first_cause(group) from None


async def _scrub(
    paths: Paths,
    config: VolumeConfig,
    request: ScrubRequest,
    on_progress: Callable[[Progress], None],
    on_mismatch: Callable[[Mismatch], None],
) -> ScrubRun:
    import trio

    from twinfs.daemon import scrubbing
    from twinfs.daemon.events import EventLog
    from twinfs.mirror.volume import Volume

    async def tell(mismatch: Mismatch) -> None:
        on_mismatch(mismatch)

    scrubbing.before_open(paths, config)
    volume = Volume.open(config, paths.state_dir)
    volume.on_event = EventLog(paths.events_file(config.name), config.name).append
    scrubs = scrubbing.Scrubs(paths, volume, gives_way=False)
    run: ScrubRun | None = None
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
