"""`twinfs promote`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.ordering import carry_out
from twinfs.cli.parameters import DryRun, InjectedPaths, Json, LegName, VolumeName
from twinfs.model import Action, Order


def promote(
    name: VolumeName,
    leg: LegName = "secondary",
    /,
    *,
    force: Annotated[bool, Parameter(help="Even if the leg never had everything.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
    paths: InjectedPaths,
) -> int:
    """Make the secondary the primary.

    With both legs there nothing is lost: the other one follows from then on.
    Without the primary (not mounted), the secondary goes on with what it
    has: --dry-run lists what had not reached it.

    For example:

        twinfs promote photos secondary --dry-run
        twinfs promote photos secondary
    """
    order = Order(Action.PROMOTE, leg, is_forced=force)
    return carry_out(paths, name, order, dry_run=dry_run, json=json)
