"""`twinfs sync`."""

from __future__ import annotations

from twinfs.cli.parameters import InjectedPaths, VolumeName
from twinfs.cli.progress import ProgressDisplay
from twinfs.cli.talk import result, say
from twinfs.daemon import config
from twinfs.daemon.client import ControlClient
from twinfs.daemon.paths import Paths
from twinfs.daemon.protocol import SyncRequest
from twinfs.errors import NotMountedError
from twinfs.model import VolumeConfig


def sync(name: VolumeName, /, *, paths: InjectedPaths) -> int:
    """Bring the secondary up to date now, and wait for it.

    When it ends well, both legs hold everything that was written before,
    durably. Works on a volume that is not mounted as well.

    For example:

        twinfs sync photos
    """
    volume = config.load(paths, name)
    try:
        client = ControlClient(paths, name)
    except NotMountedError:
        drain_here(paths, volume)
        return 0
    with client, ProgressDisplay() as display:
        try:
            for progress in client.stream(SyncRequest()):
                display(progress)
        except KeyboardInterrupt:
            say("the daemon goes on with it; look with: twinfs status " + name)
            raise
    result(f"volume {name}: the secondary is up to date")
    return 0


def drain_here(paths: Paths, volume: VolumeConfig) -> None:
    """Drain a volume that is not mounted, in this process, with progress. Raises KeyboardInterrupt."""
    from twinfs.daemon import process

    with ProgressDisplay() as display:
        try:
            process.drain(paths, volume, display)
        except KeyboardInterrupt:
            say(
                f"interrupted; what was copied stays. Go on with: twinfs sync {volume.name}"
                " (mounting it goes on as well)"
            )
            raise
    result(f"volume {volume.name}: the secondary is up to date")
