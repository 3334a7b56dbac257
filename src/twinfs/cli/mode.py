"""`twinfs mode`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from twinfs.cli.parameters import At, InjectedPaths, Interval, Json, VolumeName
from twinfs.cli.talk import result
from twinfs.daemon import config
from twinfs.daemon.client import ControlClient
from twinfs.daemon.events import EventLog
from twinfs.daemon.protocol import SetModeRequest
from twinfs.daemon.timing import parse_timing
from twinfs.errors import NotMountedError
from twinfs.model import Mode
from twinfs.report import human, json_lines


def mode(
    name: VolumeName,
    mode: Annotated[Mode, Parameter(help="sync: before the caller is answered; batched: soon after.")],
    /,
    *,
    interval: Interval = None,
    at: At = None,
    json: Json = False,
    paths: InjectedPaths,
) -> int:
    """Change when the secondary gets a change: at once, or in batches.

    For a mounted volume from now on, and in its settings for every later
    mount.

    For example:

        twinfs mode photos sync
        twinfs mode photos batched --interval 5s
        twinfs mode photos batched --at 03:30
    """
    timing = parse_timing(mode, interval, at)
    before = config.change_mode(paths, name, timing)
    try:
        # Read back, so that the daemon gets what the next mount would.
        written = config.load(paths, name)
        request = SetModeRequest(written.mode, written.interval_seconds, written.at)
        with ControlClient(paths, name) as client:
            client.request(request)
    except NotMountedError:
        paths.make_volume_dir(name)
        EventLog(paths.events_file(name), name).append("mode_changed", f"mode is {mode} at the next mount")
    except BaseException:
        # The daemon refused or cannot be asked: settings that differ from what runs would mislead.
        config.restore(paths, name, before)
        raise
    if json:
        daily = written.at if written.mode is Mode.BATCHED else None
        interval_seconds = written.interval_seconds if written.mode is Mode.BATCHED and not daily else None
        now: dict[str, json_lines.Json] = {
            "type": "mode",
            "volume": name,
            "mode": written.mode,
            "interval_seconds": interval_seconds,
            "at": daily,
        }
        result(json_lines.line(now))
    else:
        result(f"volume {name}: {_words(written.mode, written.interval_seconds, written.at)}")
    return 0


def _words(mode: Mode, interval_seconds: float, at: str | None) -> str:
    if mode is Mode.SYNC:
        return "sync mode"
    return f"batched mode, {f'daily at {at}' if at else f'every {human.duration(interval_seconds)}'}"
