"""`twinfs events NAME --test`: one event through every channel, and what each of them did."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from twinfs import __version__
from twinfs.daemon.channels import channels_of
from twinfs.daemon.command import CommandError
from twinfs.daemon.events import EventLog, new_event
from twinfs.daemon.logfile import system_log
from twinfs.daemon.paths import Paths
from twinfs.daemon.syslog import is_journal, send
from twinfs.daemon.whole_file import write_whole
from twinfs.model import ChannelTest, Event, Notice, Severity, Verdict, VolumeConfig, VolumeStatus
from twinfs.report.metrics import Counters, metrics_text
from twinfs.report.plain_text import readable

_SETTINGS = {"hook": "on_event", "mail": "mail_to", "metrics": "metrics_file"}


def rehearse(
    paths: Paths, config: VolumeConfig, status: VolumeStatus | None, counters: Counters
) -> tuple[ChannelTest, ...]:
    """Send it, waiting for each; blocks for as long as the slowest hook may take, per channel."""
    message = f"a test, asked for with: twinfs events {config.name} --test"
    event = new_event(config.name, "test", message)
    state = None if status is None else status.state
    notice = Notice(event, Severity.INFO, state, "nothing: this is only a test")
    found = [_log(paths, event), _journal(event)]
    found += _channels(paths, config, notice)
    found.append(_metrics(config, status, counters))
    return tuple(found)


def _log(paths: Paths, event: Event) -> ChannelTest:
    path = paths.events_file(event.volume)
    try:
        paths.make_volume_dir(event.volume)
        EventLog(path, event.volume).add(event)
    except OSError as error:
        return ChannelTest("log", Verdict.FAILED, f"{path}: {error.strerror}")
    return ChannelTest("log", Verdict.OK, f"written to {path}")


def _journal(event: Event) -> ChannelTest:
    text = f"volume {event.volume}: {event.kind}: {event.message}"
    if is_journal(2):
        print(f"<6>{text}", file=sys.stderr, flush=True)
        return ChannelTest("journal", Verdict.OK, "written to stderr, which the journal reads")
    path = system_log()
    if path is None or not path.exists():
        return ChannelTest("journal", Verdict.OFF, f"this machine has no {path or 'system log'}")
    try:
        send(path, Severity.INFO, text)
    except OSError as error:
        return ChannelTest("journal", Verdict.FAILED, f"{path}: {error.strerror}")
    return ChannelTest("journal", Verdict.OK, f"sent to {path}")


def _channels(paths: Paths, config: VolumeConfig, notice: Notice) -> Iterator[ChannelTest]:
    channels = {channel.name: channel for channel in channels_of(config, paths)}
    for name in ("hook", "mail"):
        channel = channels.get(name)
        if channel is None:
            yield ChannelTest(name, Verdict.OFF, f"the settings have no {_SETTINGS[name]}")
            continue
        try:
            yield ChannelTest(name, Verdict.OK, readable(channel.deliver([notice])))
        except CommandError as error:
            yield ChannelTest(name, Verdict.FAILED, readable(str(error)))


def _metrics(config: VolumeConfig, status: VolumeStatus | None, counters: Counters) -> ChannelTest:
    if config.metrics_file is None:
        return ChannelTest("metrics", Verdict.OFF, f"the settings have no {_SETTINGS['metrics']}")
    is_mounted = status is not None and status.mountpoint is not None
    text = metrics_text(config.name, status if is_mounted else None, counters, __version__)
    try:
        write_whole(Path(config.metrics_file), text.encode(), 0o644)
    except OSError as error:
        return ChannelTest("metrics", Verdict.FAILED, f"{config.metrics_file}: {error.strerror}")
    return ChannelTest("metrics", Verdict.OK, f"written to {config.metrics_file}")
