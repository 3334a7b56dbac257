"""`twinfs detach`."""

from __future__ import annotations

from twinfs.cli.ordering import carry_out
from twinfs.cli.parameters import DryRun, InjectedPaths, Json, LegName, VolumeName
from twinfs.model import Action, Order


def detach(
    name: VolumeName,
    leg: LegName = "secondary",
    /,
    *,
    dry_run: DryRun = False,
    json: Json = False,
    paths: InjectedPaths,
) -> int:
    """Take a leg out, to unplug its disk.

    The volume goes on without it; what changes waits in the intent log. To
    detach the primary, the secondary is promoted first.

    For example:

        twinfs detach photos secondary
    """
    order = Order(Action.DETACH, leg)
    return carry_out(paths, name, order, dry_run=dry_run, json=json)
