"""`twinfs replace`."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.ordering import carry_out
from twinfs.cli.parameters import DryRun, InjectedPaths, Json, LegName, VolumeName
from twinfs.model import Action, Order


def replace(
    name: VolumeName,
    leg: LegName,
    newdir: Annotated[str, Parameter(help="An empty directory on the new disk.")],
    /,
    *,
    force: Annotated[bool, Parameter(help="Even onto the disk that the other leg is on.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
    paths: InjectedPaths,
) -> int:
    """Give a leg a new disk, while the volume is in use.

    Everything is copied to it and then compared, every byte. Interrupted, it
    goes on with the next sync or mount. The old disk is not touched. For the
    primary, the secondary is promoted first; what is excluded from the
    mirror is only on the old primary, and is yours to copy. Refused where
    NEWDIR is on the disk of the leg that stays, unless --force is given.

    For example:

        twinfs replace photos secondary /mnt/new --dry-run
        twinfs replace photos secondary /mnt/new
    """
    order = Order(Action.REPLACE, leg, os.path.abspath(newdir), force)
    return carry_out(paths, name, order, dry_run=dry_run, json=json)
