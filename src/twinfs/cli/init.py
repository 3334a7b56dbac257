"""`twinfs init`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.parameters import At, InjectedPaths, Interval, Json
from twinfs.cli.talk import result, say
from twinfs.daemon.create import create_volume, name_from_path
from twinfs.daemon.durations import parse_age
from twinfs.daemon.old_jobs import jobs_into
from twinfs.daemon.timing import parse_timing
from twinfs.model import Mode, VolumeConfig
from twinfs.report import json_lines
from twinfs.report.plain_text import readable

_DEFAULT_INTERVAL_SECONDS = 5.0


def init(
    primary: Annotated[str, Parameter(help="The directory with your files, or an empty one.")],
    secondary: Annotated[str, Parameter(help="The directory that mirrors it, on another disk.")],
    /,
    *,
    name: Annotated[
        str | None, Parameter(help="What to call the volume; else the last part of the primary's path.")
    ] = None,
    mode: Annotated[
        Mode | None,
        Parameter(help="When the secondary gets a change: before the caller is answered, or in batches."),
    ] = None,
    interval: Interval = None,
    at: At = None,
    mountpoint: Annotated[
        str | None, Parameter(help="Where the volume is mounted; else over the primary itself.")
    ] = None,
    adopt: Annotated[bool, Parameter(help="Take over the files that the secondary already holds.")] = False,
    keep_versions: Annotated[
        str | None, Parameter(help="Keep what is deleted or replaced for so long, such as 30d.")
    ] = None,
    with_systemd: Annotated[bool, Parameter(help="Have systemd scrub it once a month.")] = False,
    json: Json = False,
    paths: InjectedPaths,
) -> int:
    """Make two directories the legs of a new volume.

    Writes a label (.twinfs) into each and the volume's settings; changes no
    file of yours. With --adopt, a secondary that holds files (a mirror that
    rsync made) is compared and brought up to date right away; what only it
    has goes to its quarantine, never away. The mode is sync unless an interval
    or a time of day is given.

    For example:

        twinfs init /mnt/hd1 /mnt/hd1_mirror --name photos --keep-versions 30d
        twinfs init /mnt/hd1 /mnt/hd1_mirror --name photos --adopt --at 03:30
    """
    primary, secondary = os.path.abspath(primary), os.path.abspath(secondary)
    timing = parse_timing(mode, interval, at)
    settings = VolumeConfig(
        name=name or name_from_path(primary),
        volume_id="",
        primary=primary,
        secondary=secondary,
        mode=timing.mode,
        interval_seconds=timing.interval_seconds or _DEFAULT_INTERVAL_SECONDS,
        at=timing.at,
        mountpoint=os.path.abspath(mountpoint) if mountpoint else None,
        keep_versions_seconds=None if keep_versions is None else parse_age(keep_versions),
    )
    created = create_volume(paths, settings, adopt=adopt, say=say)
    settings_file = paths.config_file(created.name)
    if not json:
        result(f"volume {created.name} is made; its settings are in {settings_file}")
    if adopt:
        from twinfs.cli.draining import drain_here, tell_drained

        drain_here(paths, created)
        if not json:
            tell_drained(created.name)
    if with_systemd:
        from twinfs.daemon.systemd import schedule

        schedule(paths, created.name, say)
    _warn_of_old_jobs(created.secondary)
    if json:
        # When all is done: a script that sees the line may go on.
        result(_json(created, settings_file, adopted=adopt))
    say(f"next: twinfs mount {created.name}")
    return 0


def _warn_of_old_jobs(secondary: str) -> None:
    for job in jobs_into(secondary):
        say(
            f"warning: {job.file} has rsync write to {secondary}, and --delete removes the label;"
            f" take this line out of it:\n  {job.line}"
        )


def _json(created: VolumeConfig, settings_file: Path, *, adopted: bool) -> str:
    made: dict[str, json_lines.Json] = {
        "type": "init",
        "volume": created.name,
        "config": readable(str(settings_file)),
        "primary": readable(created.primary),
        "secondary": readable(created.secondary),
        "mode": created.mode,
        "adopted": adopted,
    }
    return json_lines.line(made)
