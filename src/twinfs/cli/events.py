"""`twinfs events`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.parameters import InjectedPaths, Json, VolumeName
from twinfs.cli.talk import result
from twinfs.daemon import config
from twinfs.daemon.events import EventLog
from twinfs.report import json_lines
from twinfs.report.event_text import event_line


def events(
    name: VolumeName,
    /,
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], help="Go on with what comes.")] = False,
    json: Json = False,
    paths: InjectedPaths,
) -> int:
    """List what happened to a volume, newest last.

    For example:

        twinfs events photos
        twinfs events photos --follow --json
    """
    config.load(paths, name)
    log = EventLog(paths.events_file(name), name)
    for event in log.follow() if follow else log.read():
        result(json_lines.line(json_lines.event_dict(event)) if json else event_line(event))
    return 0
