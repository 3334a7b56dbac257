"""`twinfs events`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.parameters import InjectedPaths, Json, VolumeName
from twinfs.cli.talk import result, say
from twinfs.daemon import config
from twinfs.daemon.client import ControlClient
from twinfs.daemon.events import EventLog
from twinfs.daemon.paths import Paths
from twinfs.errors import NotMountedError, TwinfsError
from twinfs.model import ChannelTest, Verdict, VolumeConfig
from twinfs.report import json_lines
from twinfs.report.event_text import channel_line, event_line


def events(
    name: VolumeName,
    /,
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], help="Go on with what comes.")] = False,
    test: Annotated[bool, Parameter(help="Send one event to everybody who is to be told.")] = False,
    json: Json = False,
    paths: InjectedPaths,
) -> int:
    """List what happened to a volume, newest last.

    With --test, a test event goes to the log, the journal, the hook, by mail,
    and the metrics file is written, as the settings say. Ends with 1 when one
    of them failed.

    For example:

        twinfs events photos
        twinfs events photos --follow --json
        twinfs events photos --test
    """
    settings = config.load(paths, name)
    if test:
        return _test(paths, settings, is_json=json)
    log = EventLog(paths.events_file(name), name)
    for event in log.follow() if follow else log.read():
        result(json_lines.line(json_lines.event_dict(event)) if json else event_line(event))
    return 0


def _test(paths: Paths, settings: VolumeConfig, *, is_json: bool) -> int:
    channels = _channels(paths, settings)
    for channel in channels:
        result(json_lines.line(json_lines.channel_dict(channel)) if is_json else channel_line(channel))
    return int(any(channel.verdict is Verdict.FAILED for channel in channels))


def _channels(paths: Paths, settings: VolumeConfig) -> tuple[ChannelTest, ...]:
    """By the daemon, as every event: its environment is not the caller's. Without one, from here."""
    try:
        with ControlClient(paths, settings.name) as client:
            return client.test_events()
    except NotMountedError:
        say(f"volume {settings.name} is not mounted; testing from this command")
    from twinfs.cli.state import volume_status
    from twinfs.daemon.rehearsal import rehearse
    from twinfs.report.metrics import Counters

    try:
        status = volume_status(paths, settings.name)
    except (OSError, TwinfsError) as error:
        # Just then somebody needs to be told, and to know that they will be.
        say(f"its state is not known: {error}")
        status = None
    return rehearse(paths, settings, status, Counters({}, {}))
