"""`twinfs rebuild`."""

from __future__ import annotations

from twinfs.cli.ordering import carry_out
from twinfs.cli.parameters import DryRun, InjectedPaths, Json, VolumeName
from twinfs.model import Action, Order


def rebuild(
    name: VolumeName,
    /,
    *,
    dry_run: DryRun = False,
    json: Json = False,
    paths: InjectedPaths,
) -> int:
    """Compare every byte of both legs, and copy what differs.

    For when you do not trust the secondary. The volume stays in use. It ends
    with a comparison in which nothing differed; interrupted, call it again.

    For example:

        twinfs rebuild photos --dry-run
        twinfs rebuild photos
    """
    order = Order(Action.REBUILD)
    return carry_out(paths, name, order, dry_run=dry_run, json=json)
