"""What `twinfs sync` does, without the command line's parser: see plain.py."""

from __future__ import annotations

from twinfs.cli.plain import UP_TO_DATE
from twinfs.cli.progress import ProgressDisplay
from twinfs.cli.talk import result, say
from twinfs.daemon.client import ControlClient
from twinfs.daemon.errand import Errand
from twinfs.daemon.paths import Paths
from twinfs.daemon.protocol import SyncRequest
from twinfs.errors import NotMountedError
from twinfs.model import VolumeConfig
from twinfs.report import json_lines


def drain(
    paths: Paths, name: str, *, allow_deletes: bool, json: bool = False, errand: Errand | None = None
) -> int:
    """Mounted or not; returns the exit code. `errand`: the daemon is at it. Raises TwinfsError,
    KeyboardInterrupt."""
    try:
        client = ControlClient(paths, name, errand)
    except NotMountedError:
        from twinfs.daemon import config

        drain_here(paths, config.load(paths, name), allow_deletes=allow_deletes)
        tell_drained(name, json=json)
        return 0
    with client, ProgressDisplay() as display:
        try:
            for progress in client.stream(SyncRequest(allow_deletes)):
                display(progress)
        except KeyboardInterrupt:
            say("the daemon goes on with it; look with: twinfs status " + name)
            raise
    tell_drained(name, json=json)
    return 0


def tell_drained(name: str, *, json: bool = False) -> None:
    if json:
        result(json_lines.line({"type": "sync", "volume": name, "message": UP_TO_DATE}))
    else:
        result(f"volume {name}: {UP_TO_DATE}")


def drain_here(paths: Paths, volume: VolumeConfig, *, allow_deletes: bool = False) -> None:
    """Drain a volume that is not mounted, in this process, with progress. Raises KeyboardInterrupt."""
    from twinfs.daemon import process

    with ProgressDisplay() as display:
        try:
            process.drain(paths, volume, display, allow_deletes=allow_deletes)
        except KeyboardInterrupt:
            say(
                f"interrupted; what was copied stays. Go on with: twinfs sync {volume.name}"
                " (mounting it goes on as well)"
            )
            raise
