"""Parameters that several commands share, described once."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from cyclopts import Parameter

from twinfs.daemon.paths import Paths

# Settled by main from --config-dir and --state-dir, not read from the command line.
InjectedPaths: TypeAlias = Annotated[Paths, Parameter(parse=False)]

VolumeName: TypeAlias = Annotated[str, Parameter(help="The volume's name.")]
LegName: TypeAlias = Annotated[str, Parameter(help="primary, secondary, or the path of the leg.")]
Json: TypeAlias = Annotated[bool, Parameter(name="--json", help="Print JSON lines for scripts.")]
DryRun: TypeAlias = Annotated[bool, Parameter(help="Only tell what it would do.")]
AllowDeletes: TypeAlias = Annotated[
    bool, Parameter(name="--allow-deletes", negative="", help="Delete on the secondary whatever is pending.")
]
Interval: TypeAlias = Annotated[
    str | None, Parameter(help="Batched: how often the secondary gets the changes, such as 5s or 2m.")
]
At: TypeAlias = Annotated[str | None, Parameter(help="Batched: once a day at this time, such as 03:30.")]
MountOptionList: TypeAlias = Annotated[
    list[str], Parameter(name="-o", help="Mount options, comma-separated.")
]
