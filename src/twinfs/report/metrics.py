"""A volume's figures in Prometheus' text format, for node_exporter's textfile collector.

Source: Prometheus, "Exposition formats", text-based format. No timestamps: the collector refuses them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from twinfs.model import LegState, Severity, VolumeState, VolumeStatus

Labels: TypeAlias = Mapping[str, str]
Sample: TypeAlias = tuple[Labels, float]


@dataclass(frozen=True, slots=True)
class Counters:
    """What was counted since the daemon's start: events by how urgent they are, and those that a channel
    (hook, mail) could not hand on."""

    events: Mapping[Severity, int]
    not_told: Mapping[str, int]


def metrics_text(volume: str, status: VolumeStatus | None, counters: Counters, version: str) -> str:
    """All metrics of one volume, every line ended. `status` None: it is not mounted any more."""
    families = [
        _Family("twinfs_build_info", "The version of twinfs.", [({"version": version}, 1)]),
        _Family("twinfs_mounted", "Whether the volume is mounted.", [({}, status is not None)]),
    ]
    if status is not None:
        families += _status(status)
    families += [
        _Family(
            "twinfs_events_total",
            "Events since the daemon started, by severity.",
            [({"severity": severity}, counters.events.get(severity, 0)) for severity in Severity],
            kind="counter",
        ),
        _Family(
            "twinfs_notices_failed_total",
            "Events that a channel could not hand on to people since the daemon started.",
            [({"channel": channel}, count) for channel, count in sorted(counters.not_told.items())],
            kind="counter",
        ),
    ]
    return "".join(line for family in families for line in family.lines(volume))


@dataclass(frozen=True, slots=True)
class _Family:
    """One metric. Without samples it is left out."""

    name: str
    about: str
    samples: Sequence[Sample]
    kind: str = "gauge"

    def lines(self, volume: str) -> Iterable[str]:
        if not self.samples:
            return
        yield f"# HELP {self.name} {self.about}\n"
        yield f"# TYPE {self.name} {self.kind}\n"
        for labels, value in self.samples:
            text = ",".join(f'{key}="{_escape(item)}"' for key, item in {"volume": volume, **labels}.items())
            yield f"{self.name}{{{text}}} {_number(value)}\n"


def _status(status: VolumeStatus) -> list[_Family]:
    pending = status.pending
    states = [({"state": state}, status.state is state) for state in VolumeState]
    return [
        _Family("twinfs_mode_info", "When the secondary follows.", [({"mode": status.mode}, 1)]),
        _Family("twinfs_state", "1 for the state that the volume is in.", states),
        _Family("twinfs_needs_action", "Whether a person has to act.", [({}, status.action is not None)]),
        _Family("twinfs_lag_seconds", "Age of the oldest pending change.", [({}, pending.lag_seconds)]),
        _Family(
            "twinfs_pending_changes",
            "Changes that the secondary has not applied.",
            [({}, pending.changes)],
        ),
        _Family("twinfs_pending_bytes", "Contents still to copy to the secondary.", [({}, pending.bytes)]),
        *_legs(status),
        *_scrub(status),
    ]


def _legs(status: VolumeStatus) -> list[_Family]:
    states: list[Sample] = [
        ({"leg": leg.role, "state": state}, leg.state is state) for leg in status.legs for state in LegState
    ]
    # A leg that is not there has no size; a zero would read as a full disk.
    known = [leg for leg in status.legs if leg.total_bytes]
    sizes = [({"leg": leg.role}, leg.total_bytes) for leg in known]
    free = [({"leg": leg.role}, leg.free_bytes) for leg in known]
    return [
        _Family("twinfs_leg_state", "1 for the state that the leg is in.", states),
        _Family("twinfs_leg_size_bytes", "Size of the file system that the leg is on.", sizes),
        _Family("twinfs_leg_free_bytes", "What an ordinary user may still write there.", free),
    ]


def _scrub(status: VolumeStatus) -> list[_Family]:
    scrub = status.last_scrub
    if scrub is None:
        return []
    return [
        _Family(
            "twinfs_last_scrub_timestamp_seconds",
            "When the last scrub ended, since 1970.",
            [({}, scrub.finished)],
        ),
        _Family("twinfs_last_scrub_mismatches", "What the last scrub found.", [({}, scrub.mismatches)]),
        _Family("twinfs_last_scrub_repaired", "What the last scrub repaired.", [({}, scrub.repaired)]),
        _Family("twinfs_last_scrub_bytes", "What the last scrub read.", [({}, scrub.bytes)]),
    ]


def _escape(value: str) -> str:
    """A label's value: backslash, quote and line feed are escaped, nothing else."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    """Integers in full (a disk's bytes would lose digits as a float), others as Python writes them."""
    return str(int(value)) if isinstance(value, int) or value == int(value) else repr(value)
