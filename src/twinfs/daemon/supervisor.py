"""One mounted volume, from its first request to its last.

Order is the feature. Clients are answered from before the mount until after the drain, so that
whoever asked for the unmount sees how the drain goes. The caller opens the legs before (a volume
may be mounted over its primary) and holds the volume's lock around all of it.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

import trio

from twinfs.daemon import config, mounts, rehearsal
from twinfs.daemon.control import ControlServer, outcome_of
from twinfs.daemon.feed import ProgressFeed
from twinfs.daemon.groups import first_cause
from twinfs.daemon.herald import Herald
from twinfs.daemon.notify import notify
from twinfs.daemon.paths import Paths
from twinfs.daemon.protocol import DoneReply, ErrorReply, LegsReply, OpenLeg, ScrubRequest
from twinfs.daemon.reminders import Reminders
from twinfs.daemon.request import MountRequest
from twinfs.daemon.watch import Watch
from twinfs.errors import BusyError, ControlError, MountError, ScrubError, TwinfsError, UsageError
from twinfs.model import (
    ChannelTest,
    Mismatch,
    Mode,
    Order,
    Progress,
    Role,
    ScrubRun,
    Survey,
    VolumeStatus,
)

_log = logging.getLogger(__name__)

# How long programs with open files have after a lazy unmount before these stop answering.
_LAZY_GRACE_SECONDS = 10.0
# How long a client that waits for the end has to read it.
_FAREWELL_SECONDS = 2.0


class Volume(Protocol):
    """What a supervisor needs of mirror.volume.Volume."""

    on_event: Callable[[str, str], None]

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None: ...

    async def sync(
        self, on_progress: Callable[[Progress], None] | None = None, *, allow_deletes: bool = False
    ) -> None: ...

    def status(self, *, pid: int | None, mountpoint: str | None) -> VolumeStatus: ...

    async def set_mode(self, mode: Mode, interval_seconds: float | None, at: str | None) -> None: ...

    async def recover(
        self,
        order: Order,
        is_dry_run: bool,
        on_progress: Callable[[Progress], None],
        save_place: Callable[[Role, str], None],
    ) -> str | Survey: ...

    async def refresh(self) -> None: ...

    def open_legs(self) -> list[tuple[Role, int]]: ...

    async def close(self, on_progress: Callable[[Progress], None] | None = None) -> None: ...


class Scrubs(Protocol):
    """What a supervisor needs of daemon.scrubbing.Scrubs."""

    async def run(
        self,
        request: ScrubRequest,
        on_progress: Callable[[Progress], None],
        on_mismatch: Callable[[Mismatch], Awaitable[None]],
    ) -> ScrubRun: ...

    async def work(self) -> None: ...

    async def stop(self) -> None: ...

    def with_last(self, status: VolumeStatus) -> VolumeStatus: ...


V = TypeVar("V", bound=Volume)
_V_contra = TypeVar("_V_contra", bound=Volume, contravariant=True)


class Serve(Protocol[_V_contra]):
    """fuse.volume_session.serve: mounts, answers the kernel, returns at the unmount."""

    async def __call__(
        self,
        volume: _V_contra,
        mountpoint: str,
        *,
        fsname: str,
        allow_other: bool,
        options: Sequence[str],
        task_status: trio.TaskStatus[None],
    ) -> None: ...


class Supervisor(Generic[V]):
    """Runs one opened volume until it is unmounted and drained."""

    def __init__(
        self,
        paths: Paths,
        request: MountRequest,
        volume: V,
        serve: Serve[V],
        scrubs: Scrubs | None = None,
    ) -> None:
        self._paths = paths
        self._name = request.config.name
        self._request = request
        self._volume = volume
        self._serve = serve
        self._scrubs = scrubs
        self._herald = Herald(paths, request.config, self.status)
        reminders = Reminders(paths.reminders_file(self._name), self._herald.tell)
        self._watch = Watch(request.config, self._fresh_status, self._herald, reminders)
        self._control = ControlServer(paths.socket(self._name), self)
        # Not trio's common ones: a disk that hangs may have taken all of those.
        self._own_threads = trio.CapacityLimiter(4)
        self._is_mounted = False
        self._unmounted = trio.Event()
        self._serving = trio.CancelScope()
        self._draining = trio.CancelScope()
        self._is_draining = False
        self.ending = ProgressFeed()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Mount, serve, drain. Raises what kept the volume from it, ControlError if the drain failed."""
        self._volume.on_event = self._herald.tell
        failure: Exception | None = None
        async with trio.open_nursery() as clients:
            await clients.start(self._control.run)
            clients.start_soon(self._obey_signals, clients)
            try:
                await self._live(on_ready)
            except Exception as error:  # noqa: BLE001  raised again after the drain
                # Kept until the drain is over: what people wrote comes first.
                failure = first_cause(error)
                self._herald.tell("error", str(failure))
            if failure is not None or self._serving.cancelled_caught:
                await self._clear_dead_mount()
            outcome = await self._drain(failure)
            with trio.move_on_after(_FAREWELL_SECONDS):
                await self.ending.everybody_told()
            await self._watch.finish()
            await trio.to_thread.run_sync(self._herald.close, limiter=self._own_threads)
            clients.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if isinstance(outcome, ErrorReply):
            raise ControlError(outcome.message)

    def status(self) -> VolumeStatus:
        mountpoint = self._request.mountpoint if self._is_mounted else None
        status = self._volume.status(pid=os.getpid(), mountpoint=mountpoint)
        return status if self._scrubs is None else self._scrubs.with_last(status)

    async def sync(self, on_progress: Callable[[Progress], None], *, allow_deletes: bool = False) -> None:
        await self._volume.sync(on_progress, allow_deletes=allow_deletes)

    async def scrub(
        self,
        request: ScrubRequest,
        on_progress: Callable[[Progress], None],
        on_mismatch: Callable[[Mismatch], Awaitable[None]],
    ) -> ScrubRun:
        if self._scrubs is None or not self._is_mounted:
            raise ScrubError(
                f"volume {self._name} is being mounted or unmounted; try again when that is done"
            )
        return await self._scrubs.run(request, on_progress, on_mismatch)

    async def set_mode(self, mode: Mode, interval_seconds: float | None, at: str | None) -> None:
        await self._volume.set_mode(mode, interval_seconds, at)
        self._herald.tell("mode_changed", f"mode is {mode} now")

    async def test_events(self) -> tuple[ChannelTest, ...]:
        """In a thread: a hook may take its time. With what this daemon was started with."""
        status, counters = await self._fresh_status(), self._herald.counters()
        work = partial(rehearsal.rehearse, self._paths, self._request.config, status, counters)
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._own_threads)

    async def refresh(self) -> None:
        await self._volume.refresh()

    def legs(self) -> LegsReply:
        if not self._is_mounted:
            raise ControlError(
                f"volume {self._name} is being mounted or unmounted; try again when that is done"
            )
        return LegsReply(os.getpid(), tuple(OpenLeg(*leg) for leg in self._volume.open_legs()))

    async def _fresh_status(self) -> VolumeStatus:
        await self.refresh()
        return self.status()

    async def recover(
        self, order: Order, is_dry_run: bool, on_progress: Callable[[Progress], None]
    ) -> str | Survey:
        place = self._request.mountpoint
        if order.path and (order.path + "/").startswith(place.rstrip("/") + "/"):
            raise UsageError(f"{order.path} lies inside the volume, at {place}: it would mirror itself")
        save = partial(config.change_place, self._paths, self._name)
        return await self._volume.recover(order, is_dry_run, on_progress, save)

    async def _live(self, on_ready: Callable[[], None]) -> None:
        """Everything between mount and unmount."""
        async with trio.open_nursery() as work:
            await work.start(self._volume.run)
            await work.start(self._serve_until_unmounted)
            self._is_mounted = True
            if self._scrubs is not None:
                work.start_soon(self._scrubs.work)
            work.start_soon(self._watch.run)
            self._herald.tell("mounted", f"at {self._request.mountpoint}")
            notify("READY=1")
            on_ready()
            await self._unmounted.wait()
            work.cancel_scope.cancel()

    async def _serve_until_unmounted(self, *, task_status: trio.TaskStatus[None]) -> None:
        request = self._request
        with self._serving:
            await self._serve(
                self._volume,
                request.mountpoint,
                fsname=request.fsname,
                allow_other=request.allow_other,
                options=request.options,
                task_status=task_status,
            )
        if not self._is_mounted and self._serving.cancelled_caught:
            raise MountError(f"volume {self._name}: interrupted before it was mounted")
        self._unmounted.set()

    async def _drain(self, failure: Exception | None) -> DoneReply | ErrorReply:
        """Bring the secondary up to date and let the legs go; tell everybody who waits for it."""
        if self._is_mounted:
            self._herald.tell("unmounted", f"from {self._request.mountpoint}")
        self._is_mounted = False
        self._is_draining = True
        notify("STOPPING=1")
        if self._scrubs is not None:
            await self._scrubs.stop()
        outcome: DoneReply | ErrorReply = ErrorReply(
            f"volume {self._name}: interrupted before everything reached the secondary;"
            f" go on with: twinfs sync {self._name}"
        )
        with self._draining:
            outcome = await outcome_of(self._close)
        if isinstance(outcome, ErrorReply):
            self._herald.tell("error", outcome.message)
        elif failure is not None:
            outcome = ErrorReply(f"volume {self._name} ended: {failure}")
        self.ending.finish(outcome)
        return outcome

    async def _close(self) -> DoneReply:
        await self._volume.close(self.ending.publish)
        return DoneReply()

    async def _obey_signals(self, nursery: trio.Nursery) -> None:
        """First signal: unmount and drain. One more while draining: leave the rest for the next start."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                _log.info("received %s", signal.Signals(number).name)
                if self._is_draining:
                    self._draining.cancel()
                else:
                    nursery.start_soon(self._stop)

    async def _stop(self) -> None:
        if self._is_mounted and await self._unmount():
            with trio.move_on_after(_LAZY_GRACE_SECONDS):
                await self._unmounted.wait()
        # Also ends a mount that is not there yet, and one whose users do not let go.
        self._serving.cancel()

    async def _unmount(self) -> bool:
        """False when nothing could be unmounted. In a thread: the kernel may have us write back first."""
        for is_lazy in (False, True):
            try:
                await trio.to_thread.run_sync(
                    partial(mounts.unmount, self._request.mountpoint, lazy=is_lazy), abandon_on_cancel=True
                )
                return True
            except BusyError as error:
                self._herald.tell("error", f"{error}; unmounting it lazily")
            except MountError as error:
                _log.warning("%s", error)
                break
        return False

    async def _clear_dead_mount(self) -> None:
        """A session that was cut off leaves its mount behind, without anyone to answer it."""
        try:
            await trio.to_thread.run_sync(mounts.clear_dead, self._request.mountpoint)
        except TwinfsError as error:
            _log.warning("%s", error)
