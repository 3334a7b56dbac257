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
    newdir: Annotated[str, Parameter(help="A directory on the new disk; an empty one, but for --adopt.")],
    /,
    *,
    adopt: Annotated[bool, Parameter(help="Take over the files that NEWDIR already holds.")] = False,
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

    With --adopt NEWDIR may hold a copy of the files: what is equal is not
    copied again, what differs or is only there goes to its quarantine, never
    away. So a leg that has lost its label (.twinfs) and nothing else is taken
    back: name its own directory.

    For example:

        twinfs replace photos secondary /mnt/new --dry-run
        twinfs replace photos secondary /mnt/new
        twinfs replace photos secondary /mnt/hd1_mirror --adopt
    """
    order = Order(Action.REPLACE, leg, os.path.abspath(newdir), force, adopt)
    return carry_out(paths, name, order, dry_run=dry_run, json=json)
