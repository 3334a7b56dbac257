"""`twinfs attach`."""

from __future__ import annotations

from twinfs.cli.ordering import carry_out
from twinfs.cli.parameters import DryRun, InjectedPaths, Json, LegName, VolumeName
from twinfs.model import Action, Order


def attach(
    name: VolumeName,
    leg: LegName = "secondary",
    /,
    *,
    dry_run: DryRun = False,
    json: Json = False,
    paths: InjectedPaths,
) -> int:
    """Put a detached leg back, and bring it up to date.

    Mount its disk at its place first. Only what changed meanwhile is copied.

    For example:

        twinfs attach photos
    """
    order = Order(Action.ATTACH, leg)
    return carry_out(paths, name, order, dry_run=dry_run, json=json)
