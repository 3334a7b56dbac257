"""Figures about legs and about what is pending."""

from __future__ import annotations

import time

from twinfs.errors import LegNotMountedError, TwinfsError, WrongDiskError
from twinfs.mirror.core import Core
from twinfs.mirror.label import Leg
from twinfs.mirror.space import space_of
from twinfs.model import LegState, LegStatus, Pending, Role


def pending_of(core: Core) -> Pending:
    """What the secondary has not yet applied, now."""
    changes = len(core.pending) + len(core.compares)
    total_bytes = 0
    oldest = [change.since for change in list(core.pending)[:1]]
    for node in core.stale.values():
        mark = node.stale
        if mark is not None and mark.is_behind:
            changes += 1
            total_bytes += mark.ranges.total_bytes(mark.end_bytes)
            oldest.append(mark.since)
    return Pending(changes, total_bytes, max(0.0, time.time() - min(oldest)) if oldest else 0.0)


def leg_status(leg: Leg, state: LegState) -> LegStatus:
    """Sizes are 0 where the disk does not say them: the rest of a status is wanted most just then."""
    try:
        space = space_of(leg)
    except OSError:
        return LegStatus(leg.role, leg.path, state, 0, 0)
    return LegStatus(
        leg.role, leg.path, state, space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
    )


def offline_leg_status(role: Role, path: str, volume_id: str, state: LegState) -> LegStatus:
    try:
        leg = Leg.open(role, path, volume_id)
    except LegNotMountedError:
        return LegStatus(role, path, LegState.MISSING, 0, 0)
    except WrongDiskError:
        return LegStatus(role, path, LegState.WRONG_DISK, 0, 0)
    except TwinfsError:
        return LegStatus(role, path, LegState.FAULTY, 0, 0)
    try:
        return leg_status(leg, state)
    finally:
        leg.close()
