"""`twinfs versions`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.parameters import InjectedPaths, Json, VolumeName
from twinfs.cli.talk import result, say
from twinfs.daemon import config
from twinfs.report import json_lines
from twinfs.report.versions_text import version_dict, version_line
from twinfs.words import count as counted


def versions(
    name: VolumeName,
    path: Annotated[str, Parameter(help="A path in the volume; / for all of it.")] = "/",
    /,
    *,
    json: Json = False,
    paths: InjectedPaths,
) -> int:
    """List the old versions of a path and of what is below it.

    Each line says until when it was so, what became of it then, how large it
    was, and its path then. That time is what `restore` takes. Works on a volume
    that is not mounted as well.

    For example:

        twinfs versions photos
        twinfs versions photos 2024/summer.jpg --json
    """
    from twinfs.daemon.versions import listed, waiting

    settings = config.load(paths, name)
    count = 0
    for version in listed(paths, settings, path):
        result(json_lines.line(version_dict(version)) if json else version_line(version))
        count += 1
    if not count:
        off = "" if settings.keep_versions_seconds else '; keep_versions = "30d" in its settings keeps them'
        say(f"volume {name}: no version of {path} is kept{off}")
    if changes := waiting(paths, settings):
        say(
            f"{counted(changes, 'change')} wait for the secondary: what they delete is there still as it was,"
            " and is no version yet"
        )
    return 0
