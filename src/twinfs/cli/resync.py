"""`twinfs resync`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.ordering import carry_out, tell
from twinfs.cli.parameters import DryRun, InjectedPaths, Json, VolumeName
from twinfs.cli.talk import say
from twinfs.daemon import config
from twinfs.daemon.client import ControlClient
from twinfs.daemon.lock import VolumeLock
from twinfs.daemon.paths import Paths
from twinfs.errors import NotMountedError, SplitBrainError
from twinfs.model import Action, Order, VolumeConfig


def resync(
    name: VolumeName,
    /,
    *,
    prefer: Annotated[
        str | None, Parameter(help="After both legs were used alone: the leg that counts.")
    ] = None,
    dry_run: DryRun = False,
    json: Json = False,
    paths: InjectedPaths,
) -> int:
    """Bring the secondary up to date with what the intent log names.

    When each leg was used without the other, --prefer says which one counts;
    files of the other one that differ go to its quarantine.

    For example:

        twinfs resync photos --dry-run
        twinfs resync photos --prefer primary
    """
    order = Order(Action.RESYNC, prefer or "")
    if prefer is not None and not _is_mounted(paths, name):
        volume = config.load(paths, name)
        with VolumeLock(paths, name):
            if _settle(volume, prefer, order, dry_run=dry_run, json=json):
                return 0
        order = Order(Action.RESYNC)
    return carry_out(paths, name, order, dry_run=dry_run, json=json)


def _is_mounted(paths: Paths, name: str) -> bool:
    try:
        with ControlClient(paths, name):
            return True
    except NotMountedError:
        return False


def _settle(volume: VolumeConfig, prefer: str, order: Order, *, dry_run: bool, json: bool) -> bool:
    """End a split brain. True when there is nothing more to do: it was only to be looked at."""
    from twinfs.mirror import legs, offline, rescue

    try:
        legs.open_legs(volume, is_degraded_allowed=False).close()
    except SplitBrainError:
        if dry_run:
            tell(volume.name, order, offline.differences(volume, rescue.place_of(volume, prefer)), json=json)
            return True
        say(f"volume {volume.name}: {rescue.prefer(volume, prefer)}")
    return False
