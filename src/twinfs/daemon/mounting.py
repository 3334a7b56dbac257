"""Mount a volume: everything between "please" and the daemon's first answer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial

from twinfs.daemon import fstab, lock, mounts
from twinfs.daemon.client import ControlClient
from twinfs.daemon.elsewhere import why_not_here
from twinfs.daemon.find import canonical, default_mountpoint, is_same_path
from twinfs.daemon.options import MountOptions, kernel_flags
from twinfs.daemon.paths import Paths
from twinfs.daemon.request import MountRequest
from twinfs.daemon.start import OnReady, in_background
from twinfs.errors import AlreadyMountedError, ControlError, MountError, NotMountedError, UsageError
from twinfs.model import VolumeConfig

# How long a mount waits for the previous daemon of the same volume, which is draining.
_DRAIN_PATIENCE_SECONDS = 10.0


def prepare(
    paths: Paths,
    volume: VolumeConfig,
    mountpoint: str | None,
    options: MountOptions,
    *,
    source: str | None = None,
    say: Callable[[str], None],
) -> MountRequest:
    """Settle where and how, clear what a killed daemon left, and refuse what cannot work.

    Raises UsageError, AlreadyMountedError, MountError.
    """
    place = canonical(mountpoint or default_mountpoint(volume))
    _require_utf8(place)
    for path in {place, canonical(volume.primary)}:
        if mounts.clear_dead(path):
            say(f"cleared {path}, where the volume's daemon had died")
    _require_no_daemon(paths, volume, say)
    _require_mountable(place, volume)
    is_root = os.geteuid() == 0
    return MountRequest(
        config=volume,
        mountpoint=place,
        fsname=source or fstab.source_for(place) or volume.name,
        allow_other=is_root if options.allow_other is None else options.allow_other,
        options=kernel_flags(options, is_root=is_root),
        is_degraded_ok=options.is_degraded_ok or volume.degraded_start,
    )


def start(paths: Paths, request: MountRequest, *, say: Callable[[str], None]) -> int:
    """Start the daemon; returns its pid when the volume answers. Raises what it failed with.

    What is found that people should know, such as a leg that is missing, is said.
    """
    return in_background(partial(_serve, paths, request), request.config.name, say)


def _serve(paths: Paths, request: MountRequest, on_ready: OnReady) -> None:
    # Imported in the daemon only: trio and libfuse are not needed to start it.
    from twinfs.daemon import process

    process.serve(paths, request, on_ready, is_foreground=False)


def _require_no_daemon(paths: Paths, volume: VolumeConfig, say: Callable[[str], None]) -> None:
    """A daemon that serves is an error; one that only drains is waited for."""
    if not lock.is_held(paths, volume.name):
        return
    mountpoint = None  # also: starting, ending, or a sync in a process of its own
    with contextlib.suppress(NotMountedError, ControlError), ControlClient(paths, volume.name) as client:
        status = client.status()
        pid, mountpoint = status.pid, status.mountpoint
    if mountpoint is not None:
        elsewhere = why_not_here(volume.name, pid, mountpoint)
        raise AlreadyMountedError(elsewhere or f"volume {volume.name} is mounted already, at {mountpoint}")
    say(f"volume {volume.name} is in use by another process; waiting for it to end")
    if not lock.wait_until_free(paths, volume.name, _DRAIN_PATIENCE_SECONDS):
        raise AlreadyMountedError(
            f"volume {volume.name} is still in use; look with: twinfs status {volume.name}"
        )


def _require_mountable(place: str, volume: VolumeConfig) -> None:
    if mounts.twinfs_at(place) is not None:
        raise MountError(f"{place}: another volume is mounted there")
    if not os.path.isdir(place):
        raise MountError(f"{place} is not a directory; make it: mkdir -p {place}")
    top = mounts.at(place)
    if top is not None and top.filesystem_type == "autofs" and is_same_path(place, volume.primary):
        # Opening the leg would ask systemd to mount this very volume, and wait for it for ever.
        raise MountError(
            f"{place}: an automount point covers the primary; leave x-systemd.automount out of the line,"
            " or mount the volume elsewhere than over its primary"
        )
    for leg in (volume.primary, volume.secondary):
        if not is_same_path(place, leg) and place.startswith(canonical(leg).rstrip("/") + "/"):
            raise UsageError(f"{place} lies inside the leg {leg}: the volume would contain itself")


def _require_utf8(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UsageError("the mountpoint's name must be UTF-8") from None
