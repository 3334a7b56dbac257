"""Take a volume down, and stay until its secondary has everything."""

from __future__ import annotations

import os
from collections.abc import Callable

from twinfs.daemon import config, holders, lock, mounts
from twinfs.daemon.client import ControlClient, RemoteError
from twinfs.daemon.elsewhere import why_not_here
from twinfs.daemon.find import canonical
from twinfs.daemon.image_mounting import IMAGE_TYPE
from twinfs.daemon.paths import Paths
from twinfs.errors import BusyError, ControlError, MountError, NotMountedError
from twinfs.model import Progress

_END_PATIENCE_SECONDS = 10.0


def unmount(
    paths: Paths, target: str, *, on_progress: Callable[[Progress], None], say: Callable[[str], None]
) -> None:
    """Unmount by name or by mountpoint, and wait for the drain.

    What a killed daemon left behind is cleared. Raises NotMountedError, BusyError (naming who holds
    it), and what the drain failed with.
    """
    if "/" not in target and target in config.list_names(paths):
        _unmount_volume(paths, target, on_progress, say)
        return
    place = canonical(target)
    present = mounts.at(place)
    if present is not None and present.filesystem_type == IMAGE_TYPE:
        # Nothing to drain: an image is only read.
        mounts.unmount(place, lazy=mounts.is_dead(place))
        return
    name = _volume_mounted_at(paths, place)
    if name is not None:
        _unmount_volume(paths, name, on_progress, say)
    elif mounts.twinfs_at(place) is None:
        raise NotMountedError(f"{target}: no volume is mounted there, and none has that name")
    elif not _clear_dead(place, say):
        # Of another configuration directory, or another user's: the kernel decides.
        _unmount_here(place)
        say(f"{place} is unmounted; its daemon is not one of {paths.run_dir}, and drains by itself")


def _unmount_volume(
    paths: Paths, name: str, on_progress: Callable[[Progress], None], say: Callable[[str], None]
) -> None:
    try:
        client = ControlClient(paths, name)
    except NotMountedError:
        if not _clear_dead_of(paths, name, say):
            raise
        return
    with client:
        status = client.status()
        mountpoint = status.mountpoint
        if mountpoint is not None and (elsewhere := why_not_here(name, status.pid, mountpoint)):
            raise MountError(elsewhere)
        # Asked before the unmount: afterwards the daemon may end before anyone listens.
        progress = client.wait_for_end(lambda: _require_noticed(paths, name, mountpoint))
        if mountpoint is not None:
            _unmount_here(mountpoint)
        try:
            for position in progress:
                on_progress(position)
        except RemoteError as error:
            raise RemoteError(f"volume {name} is unmounted, but: {error}", error.exit_code) from None
    # So that whoever mounts next meets neither lock nor socket.
    lock.wait_until_free(paths, name, _END_PATIENCE_SECONDS)


def _unmount_here(mountpoint: str) -> None:
    present = mounts.twinfs_at(mountpoint)
    if present is None:
        raise MountError(
            f"{mountpoint} is no volume as seen from here: it is covered by another mount,"
            " or mounted in another mount namespace"
        )
    try:
        mounts.unmount(mountpoint)
    except BusyError:
        raise BusyError(f"{mountpoint} is busy:\n{holders.describe(mountpoint)}") from None
    elsewhere = holders.other_namespaces(present.device)
    if elsewhere:
        raise BusyError(_still_mounted(mountpoint, elsewhere))


def _require_noticed(paths: Paths, name: str, mountpoint: str | None) -> None:
    """The kernel tells the daemon of an unmount only when the last copy of the mount has gone."""
    if mountpoint is None:
        return
    try:
        with ControlClient(paths, name) as client:
            still = client.status().mountpoint
    except NotMountedError:
        return
    if still is not None:
        raise BusyError(_still_mounted(mountpoint, ["a process that you cannot see"]))


def _still_mounted(mountpoint: str, holders_elsewhere: list[str]) -> str:
    lines = "".join(f"\n  {line}" for line in holders_elsewhere)
    return (
        f"{mountpoint} is unmounted here, but other mount namespaces still have it; the daemon goes on"
        f" until they let go:{lines}"
    )


def _volume_mounted_at(paths: Paths, mountpoint: str) -> str | None:
    """Asks the living daemons: a volume may be mounted elsewhere than its settings say."""
    for socket in sorted(paths.run_dir.glob("*.sock")):
        try:
            with ControlClient(paths, socket.stem) as client:
                if client.status().mountpoint == mountpoint:
                    return socket.stem
        except (NotMountedError, ControlError):
            continue  # a dead daemon's socket, or one that does not answer: not the one to ask
    return None


def _clear_dead_of(paths: Paths, name: str, say: Callable[[str], None]) -> bool:
    """Clear every mount of a volume whose daemon was killed, wherever it was mounted."""
    sources = {name, config.load(paths, name).primary}
    ours = [mount for mount in mounts.read() if mount.filesystem_type == mounts.FILESYSTEM_TYPE]
    places = sorted({mount.mountpoint for mount in ours if mount.source in sources}, key=os.fsencode)
    # A list, not any(): each of them is to be cleared.
    return True in [_clear_dead(place, say) for place in places]


def _clear_dead(mountpoint: str, say: Callable[[str], None]) -> bool:
    if not mounts.clear_dead(mountpoint):
        return False
    say(
        f"cleared {mountpoint}; the volume's daemon had died, so the secondary may be behind."
        " See: twinfs status"
    )
    return True
