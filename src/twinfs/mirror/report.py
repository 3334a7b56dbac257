"""Figures about legs and about what is pending."""

from __future__ import annotations

import os
import time

from twinfs.mirror.core import Core
from twinfs.mirror.label import Leg
from twinfs.mirror.pair import Pair
from twinfs.mirror.secondary import Secondary
from twinfs.model import LegState, LegStatus, Mode, Pending, VolumeConfig, VolumeState


def pending_of(core: Core) -> Pending:
    """What the secondary has not yet applied, now."""
    changes = len(core.pending) + len(core.compares)
    total_bytes = 0
    for node in core.stale.values():
        mark = node.stale
        if mark is not None and mark.is_behind:
            changes += 1
            total_bytes += mark.ranges.total_bytes(mark.end_bytes)
    since = core.pending_since()
    return Pending(changes, total_bytes, 0.0 if since is None else max(0.0, time.time() - since))


def leg_status(leg: Leg, state: LegState) -> LegStatus:
    """Sizes are 0 where the disk does not say them: the rest of a status is wanted most just then."""
    try:
        space = os.fstatvfs(leg.fd)
    except OSError:
        return LegStatus(leg.role, leg.path, state, 0, 0)
    return LegStatus(
        leg.role, leg.path, state, space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
    )


def status_of_legs(
    config: VolumeConfig, core: Core, pair: Pair, trouble: str | None
) -> tuple[VolumeState, LegState, str | None]:
    """(the volume's state, the secondary's, what to do about it). `trouble` is what the last drain met."""
    secondary = pair.secondary
    if pair.primary_problem:
        state = LegState.STALE if core.is_secondary_up else secondary.state
        return VolumeState.FAILED, state, _last_resort(config, pair, is_secondary_up=core.is_secondary_up)
    if not core.is_secondary_up:
        return VolumeState.DEGRADED, secondary.state, _action(config, secondary)
    if core.is_held:
        return VolumeState.DIRTY, LegState.STALE, core.brake.reason
    if core.compares:
        return VolumeState.RESYNCING, LegState.STALE, trouble
    is_settled = core.is_settled() and core.is_durable
    is_following = core.mode is Mode.SYNC and not core.is_behind and not core.copying
    leg_state = LegState.IN_SYNC if is_settled or is_following else LegState.STALE
    if is_settled:
        return VolumeState.CLEAN, leg_state, None
    return VolumeState.DIRTY, leg_state, trouble


def _action(config: VolumeConfig, secondary: Secondary) -> str:
    if secondary.is_detached:
        return f"when the disk is mounted at {secondary.path} again: twinfs attach {config.name} secondary"
    if secondary.problem:
        return secondary.problem
    return f"check the disk at {secondary.path}; it is looked for again every few seconds"


def _last_resort(config: VolumeConfig, pair: Pair, *, is_secondary_up: bool) -> str:
    """Nothing can take the place of a primary that is dead."""
    primary, secondary = pair.primary.path, pair.secondary
    if is_secondary_up:
        said = f"the primary's disk fails ({pair.primary_problem}) and the secondary lacks some of it"
    else:
        said = (
            f"both disks are out: {primary} ({pair.primary_problem}) and {secondary.path} ({secondary.state})"
        )
    return (
        f"{said}: what is written now fails. Look after cables and power, then:"
        f" twinfs umount {config.name}; twinfs mount {config.name}"
    )
