"""`twinfs status`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.parameters import InjectedPaths, Json
from twinfs.cli.state import show_status


def status(
    name: Annotated[str | None, Parameter(help="The volume's name; every volume without it.")] = None,
    /,
    *,
    json: Json = False,
    paths: InjectedPaths,
) -> int:
    """Tell a volume's state, what is exposed, and what to do next.

    Ends with 0 when all is well, 3 when a volume is degraded or failed or
    cannot get clean by itself, 4 when the one volume that was asked for is
    not mounted.

    For example:

        twinfs status
        twinfs status photos --json
    """
    return show_status(paths, name, json=json)
