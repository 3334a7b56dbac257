"""Reaching a volume's versions and its tree from a command, whether it is mounted or not."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from twinfs.daemon.client import ControlClient, RemoteError
from twinfs.daemon.lock import VolumeLock
from twinfs.daemon.paths import Paths
from twinfs.daemon.protocol import SyncRequest
from twinfs.errors import (
    LegError,
    LegFaultyError,
    LegNotMountedError,
    NotMountedError,
    TwinfsError,
    VersionError,
)
from twinfs.model import Role, VolumeConfig


@dataclass(frozen=True, slots=True)
class Legs:
    """Descriptors of the legs' roots by the role that they have now; and where the volume is mounted."""

    roots: dict[Role, int]
    mountpoint: str | None

    @property
    def present(self) -> int:
        """The leg whose tree stands for the present: the one whose past is known."""
        return self.roots.get(Role.SECONDARY, self.roots.get(Role.PRIMARY, -1))


@contextmanager
def legs_of(paths: Paths, volume: VolumeConfig) -> Iterator[Legs]:
    """For looking only. Of a mounted volume, the daemon's own: the volume may cover its primary. VersionError
    when no leg can be reached."""
    with contextlib.ExitStack() as stack:
        try:
            client = stack.enter_context(ControlClient(paths, volume.name))
        except NotMountedError:
            stack.enter_context(VolumeLock(paths, volume.name))
            roots, mountpoint = _open_labelled(volume), None
        else:
            roots, mountpoint = _open_daemons(client), client.status().mountpoint
        for fd in roots.values():
            stack.callback(os.close, fd)
        yield Legs(roots, mountpoint)


def _open_daemons(client: ControlClient) -> dict[Role, int]:
    reply = client.legs()
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        return {leg.role: os.open(f"/proc/{reply.pid}/fd/{leg.fd}", flags) for leg in reply.legs}
    except OSError as error:
        raise VersionError(
            f"the legs of the daemon, process {reply.pid}, cannot be looked into: {error.strerror};"
            " do it as the user who mounted the volume"
        ) from None


def _open_labelled(volume: VolumeConfig) -> dict[Role, int]:
    from twinfs.mirror.label import Leg
    from twinfs.mirror.legs import path_of

    roots: dict[Role, int] = {}
    missing: LegError | None = None
    for place in Role:
        try:
            leg = Leg.open(place, path_of(volume, place), volume.volume_id)
        except (LegNotMountedError, LegFaultyError) as error:
            missing = error
            continue
        role = leg.role if leg.role not in roots else next(role for role in Role if role not in roots)
        roots[role] = leg.fd
    if not roots and missing is not None:
        raise missing
    return roots


def bring_up_to_date_if_mounted(paths: Paths, name: str, say: Callable[[str], None]) -> None:
    """Have the secondary equal the primary: the past is told from it. One that is away says so."""
    try:
        with ControlClient(paths, name) as client:
            client.request(SyncRequest())
    except NotMountedError:
        return
    except RemoteError as error:
        say(f"the secondary is not up to date, nor is what it says of the past: {error}")


@contextmanager
def mounted(paths: Paths, volume: VolumeConfig, say: Callable[[str], None]) -> Iterator[str]:
    """Where the volume is mounted; one that is not is, for as long as it takes, out of everybody's way."""
    from twinfs.daemon import mounting
    from twinfs.daemon.options import parse_options

    try:
        with ControlClient(paths, volume.name) as client:
            mountpoint = client.status().mountpoint
        if mountpoint is None:
            raise VersionError(f"volume {volume.name} is being mounted or unmounted; try again then")
        yield mountpoint
        return
    except NotMountedError:
        pass
    place = tempfile.mkdtemp(prefix="twinfs-restore-")
    try:
        request = mounting.prepare(paths, volume, place, parse_options(["noallow_other"]), say=_quiet)
        mounting.start(paths, request, say=_quiet)
        try:
            yield place
        finally:
            _take_down(paths, volume.name, say)
    finally:
        # rmdir(2) and never more: where the volume could not be unmounted, people's files are in there.
        with contextlib.suppress(OSError):
            os.rmdir(place)


def _take_down(paths: Paths, name: str, say: Callable[[str], None]) -> None:
    """What keeps the secondary from following, or the volume from being unmounted, is no failure of what was
    done in it: it is said."""
    from twinfs.daemon import unmounting

    try:
        unmounting.unmount(paths, name, on_progress=lambda progress: None, say=_quiet)
    except TwinfsError as error:
        say(f"after the restore: {error}")


def _quiet(text: str) -> None:
    """What is said of a mount that nobody asked for is nobody's business."""
