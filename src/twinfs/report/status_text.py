"""A volume's status for people: what state, what is exposed, and what to do."""

from __future__ import annotations

from twinfs.model import Held, LegState, LegStatus, ScrubSummary, VolumeState, VolumeStatus
from twinfs.report import human
from twinfs.report.plain_text import readable_path

_PATHS_SHOWN = 10

_MEANINGS = {
    VolumeState.CLEAN: "both legs hold everything; either disk may be unplugged",
    VolumeState.DIRTY: "changes are on their way to the secondary",
    VolumeState.DEGRADED: "one leg is out; what is written now is on a single disk",
    VolumeState.RESYNCING: "the secondary is being brought up to date",
    VolumeState.FAILED: "the volume cannot serve its files",
}


def status_text(status: VolumeStatus, now: float) -> str:
    """Several lines without a final newline. `now` is seconds since the epoch."""
    lines = [
        f"{status.volume}: {status.state} - {_MEANINGS[status.state]}",
        _line("mounted", _mounted(status)),
        _line("exposed", exposed(status, now)),
        *(_line(leg.role, _leg(leg)) for leg in status.legs),
        _line("scrub", _scrub(status.last_scrub, now)),
        *([] if status.versions is None else [_line("versions", _versions(status.versions, now))]),
        *([_line("quarantine", _put_aside(status, now))] if status.quarantine.objects else []),
        _line("to do", status.action or "nothing"),
        *_unreached(status),
    ]
    return "\n".join(lines)


def exposed(status: VolumeStatus, now: float) -> str:
    """What would be lost with the primary, and since when."""
    pending = status.pending
    if pending.changes == 0:
        return "nothing"
    since = human.moment(now - pending.lag_seconds, now)
    return (
        f"{human.count(pending.changes, 'change')} ({human.size(pending.bytes)}) on the primary only,"
        f" since {since} ({human.duration(pending.lag_seconds)} ago)"
    )


def _unreached(status: VolumeStatus) -> list[str]:
    """What went with a primary that failed."""
    if not status.unreached:
        return []
    shown = status.unreached[:_PATHS_SHOWN]
    more = len(status.unreached) - len(shown)
    lines = [f"  these had not reached {status.legs[0].path} when the primary failed:"]
    lines += [f"    {readable_path(path)}" for path in shown]
    return [*lines, f"    and {more} more: twinfs status {status.volume} --json"] if more else lines


def _line(label: str, text: str) -> str:
    return f"  {label:<10} {text}"


def _mounted(status: VolumeStatus) -> str:
    if status.pid is None:
        return f"no ({status.mode} mode)"
    if status.mountpoint is None:
        return f"no longer; process {status.pid} is draining"
    return f"{status.mountpoint} ({status.mode} mode, pid {status.pid})"


def _leg(leg: LegStatus) -> str:
    if leg.state is LegState.MISSING or leg.total_bytes == 0:
        return f"{leg.path} {leg.state}"
    return f"{leg.path} {leg.state}, {human.size(leg.free_bytes)} of {human.size(leg.total_bytes)} free"


def _versions(held: Held, now: float) -> str:
    if held.since is None:
        return "none yet"
    return f"{human.size(held.bytes)}, back to {human.moment(held.since, now)}"


def _put_aside(status: VolumeStatus, now: float) -> str:
    held = status.quarantine
    since = "" if held.since is None else f", the oldest of {human.moment(held.since, now)}"
    objects = human.count(held.objects, "object")
    return f"{objects}, {human.size(held.bytes)}{since}: twinfs quarantine {status.volume}"


def _scrub(scrub: ScrubSummary | None, now: float) -> str:
    if scrub is None:
        return "never"
    result = "no mismatches"
    if scrub.mismatches:
        result = f"{scrub.mismatches} mismatched, {scrub.repaired} repaired"
    return f"{human.moment(scrub.finished, now)}: {result} in {human.size(scrub.bytes)}"
