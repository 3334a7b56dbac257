"""What can be said of a volume that is not mounted, from its intent log and labels. Touches nothing."""

from __future__ import annotations

import time
from pathlib import Path

from twinfs.errors import LegNotMountedError, TwinfsError, WrongDiskError
from twinfs.journal.log import LogFile
from twinfs.journal.replay import recover
from twinfs.mirror import unreached
from twinfs.mirror.label import Leg
from twinfs.mirror.legs import check_partners, path_of
from twinfs.mirror.report import leg_status
from twinfs.model import LegState, LegStatus, Pending, Role, VolumeConfig, VolumeState, VolumeStatus


def status(config: VolumeConfig, state_dir: Path) -> VolumeStatus:
    left = LogFile(state_dir / config.name, config.volume_id)
    recovered = recover(left)
    changes = len(recovered.changes) + len(recovered.stale) + len(recovered.compares)
    is_clean = recovered.is_closed and not changes
    age = 0.0 if is_clean else max(0.0, time.time() - left.modified)
    legs, problem = _legs(config, is_clean=is_clean)
    state = VolumeState.CLEAN if is_clean else VolumeState.DIRTY
    action = None if is_clean else f"twinfs sync {config.name}, or twinfs mount {config.name}"
    for leg in legs:
        if leg.state not in (LegState.IN_SYNC, LegState.STALE):
            state = VolumeState.FAILED if leg.role is Role.PRIMARY else VolumeState.DEGRADED
            action = f"the {leg.role} is {leg.state}: mount the right disk at {leg.path}"
            break
    if problem:
        state, action = VolumeState.FAILED, problem
    return VolumeStatus(
        volume=config.name,
        pid=None,
        state=state,
        mode=config.mode,
        mountpoint=None,
        legs=legs,
        pending=Pending(changes, 0, age if changes else 0.0),
        last_scrub=None,
        action=action,
        unreached=unreached.load(state_dir / config.name).paths,
    )


def _legs(config: VolumeConfig, *, is_clean: bool) -> tuple[tuple[LegStatus, ...], str]:
    """Their states, the primary first, and what is wrong between them."""
    opened: list[Leg] = []
    found: list[LegStatus] = []
    for place in Role:
        try:
            leg = Leg.open(place, path_of(config, place), config.volume_id)
        except TwinfsError as error:
            found.append(LegStatus(place, path_of(config, place), _state_for(error), 0, 0))
            continue
        opened.append(leg)
        is_in_sync = is_clean or leg.role is Role.PRIMARY
        found.append(leg_status(leg, LegState.IN_SYNC if is_in_sync else LegState.STALE))
    problem = ""
    try:
        if len(opened) == len(Role):
            first, second = sorted(opened, key=lambda leg: leg.role)
            check_partners(config, first, second)
    except TwinfsError as error:
        problem = str(error)
    finally:
        for leg in opened:
            leg.close()
    return tuple(sorted(found, key=lambda leg: leg.role)), problem


def _state_for(error: TwinfsError) -> LegState:
    match error:
        case LegNotMountedError():
            return LegState.MISSING
        case WrongDiskError():
            return LegState.WRONG_DISK
        case _:
            return LegState.FAULTY
