"""Stand-ins for the volume and the FUSE session: what they would do to disks is tested elsewhere."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from twinfs.daemon.paths import Paths
from twinfs.daemon.request import MountRequest
from twinfs.errors import TwinfsError
from twinfs.model import (
    LegState,
    LegStatus,
    Mode,
    Pending,
    Progress,
    Role,
    VolumeConfig,
    VolumeState,
    VolumeStatus,
)


def make_paths(base: Path) -> Paths:
    return Paths(config_dir=base / "config", state_dir=base / "state", run_dir=base / "run")


def make_config(base: Path, name: str = "pair") -> VolumeConfig:
    return VolumeConfig(
        name=name, volume_id="an-id", primary=str(base / "primary"), secondary=str(base / "secondary")
    )


def make_request(base: Path, name: str = "pair") -> MountRequest:
    return MountRequest(
        config=make_config(base, name), mountpoint=str(base / "mnt"), fsname=name, allow_other=False
    )


class FakeVolume:
    """Remembers what was asked of it; `steps` positions are reported by every drain."""

    def __init__(self, config: VolumeConfig, *, steps: int = 3) -> None:
        self.config = config
        self.on_event: Callable[[str, str], None] = lambda kind, message: None
        self.mode = config.mode
        self.steps = steps
        self.calls: list[str] = []
        self.sync_error: BaseException | None = None
        self.close_error: BaseException | None = None
        self.hold_close: trio.Event | None = None
        self.synced = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        self.calls.append("run")
        task_status.started()
        await trio.sleep_forever()

    async def sync(
        self, on_progress: Callable[[Progress], None] | None = None, *, allow_deletes: bool = False
    ) -> None:
        self.calls.append("sync, deletes allowed" if allow_deletes else "sync")
        await self._drain(on_progress)
        self.synced.set()
        if self.sync_error is not None:
            raise self.sync_error

    async def refresh(self) -> None:
        """Nothing to ask of a disk."""

    def status(self, *, pid: int | None, mountpoint: str | None) -> VolumeStatus:
        return VolumeStatus(
            volume=self.config.name,
            pid=pid,
            state=VolumeState.CLEAN,
            mode=self.mode,
            mountpoint=mountpoint,
            legs=(
                LegStatus(Role.PRIMARY, self.config.primary, LegState.IN_SYNC, 100, 50),
                LegStatus(Role.SECONDARY, self.config.secondary, LegState.IN_SYNC, 100, 50),
            ),
            pending=Pending(0, 0, 0.0),
            last_scrub=None,
            action=None,
        )

    async def set_mode(self, mode: Mode, interval_seconds: float | None, at: str | None) -> None:
        self.calls.append(f"set_mode {mode} {interval_seconds} {at}")
        self.mode = mode

    async def close(self, on_progress: Callable[[Progress], None] | None = None) -> None:
        self.calls.append("close")
        await self._drain(on_progress)
        if self.hold_close is not None:
            await self.hold_close.wait()
        if self.close_error is not None:
            raise self.close_error
        self.calls.append("closed")

    async def _drain(self, on_progress: Callable[[Progress], None] | None) -> None:
        for number in range(1, self.steps + 1):
            if on_progress is not None:
                on_progress(Progress("copying", number, self.steps, number, self.steps, f"f{number}"))
            await trio.sleep(0.01)


class FakeSession:
    """A session that is unmounted when `unmount` is set; `error` is raised in its place of mounting."""

    def __init__(self, error: TwinfsError | None = None) -> None:
        self.error = error
        self.unmount = trio.Event()
        self.crash: Exception | None = None
        self.was_cancelled = False

    async def serve(
        self,
        volume: FakeVolume,
        mountpoint: str,
        *,
        fsname: str,
        allow_other: bool,
        options: Sequence[str],
        task_status: trio.TaskStatus[None],
    ) -> None:
        if self.error is not None:
            raise self.error
        task_status.started()
        try:
            await self.unmount.wait()
        except trio.Cancelled:
            self.was_cancelled = True
            raise
        if self.crash is not None:
            raise self.crash


NO_SPACE = OSError(errno.ENOSPC, "No space left on device")
