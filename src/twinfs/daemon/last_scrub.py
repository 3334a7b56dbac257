"""What a volume's status says of its scrubs."""

from __future__ import annotations

import time
from dataclasses import replace

from twinfs.daemon.paths import Paths
from twinfs.model import ScrubSummary, VolumeConfig, VolumeState, VolumeStatus
from twinfs.report import human
from twinfs.scrub.runs import interrupted_plan, last_scrub

_GOOD_STATES = (VolumeState.CLEAN, VolumeState.DIRTY)


def with_last(paths: Paths, config: VolumeConfig, status: VolumeStatus) -> VolumeStatus:
    """The status, with the last scrub, and a word where that is longer ago than it should be."""
    found = last_scrub(paths.volume_dir(config.name))
    if status.state in _GOOD_STATES and (left := left_by_last(paths, config)) > 0:
        # Somebody who reads "clean" unplugs a disk.
        action = f"twinfs scrub {config.name} --repair: the last one left {left} mismatched"
        return replace(status, last_scrub=found, state=VolumeState.DEGRADED, action=status.action or action)
    return replace(status, last_scrub=found, action=status.action or _complaint(config, found, time.time()))


def left_by_last(paths: Paths, config: VolumeConfig) -> int:
    """How many mismatches the last finished scrub left unrepaired."""
    found = last_scrub(paths.volume_dir(config.name))
    return 0 if found is None else found.mismatches - found.repaired


def is_due(paths: Paths, config: VolumeConfig, age_seconds: float) -> bool:
    """Whether the last finished scrub is as old as that, or one was interrupted since."""
    directory = paths.volume_dir(config.name)
    found = last_scrub(directory)
    if found is None or interrupted_plan(directory) is not None:
        return True
    return time.time() - found.finished >= age_seconds


def _complaint(config: VolumeConfig, last: ScrubSummary | None, now: float) -> str | None:
    if config.scrub_max_age_seconds is None:
        return None
    if last is None:
        return f"twinfs scrub {config.name}: both disks have never been read and compared"
    age = now - last.finished
    if age <= config.scrub_max_age_seconds:
        return None
    return f"twinfs scrub {config.name}: the last scrub was {human.duration(age)} ago"
