"""What can be said of a volume that is not mounted, from its intent log and labels. Touches nothing."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from twinfs.errors import LegNotMountedError, SplitBrainError, TwinfsError, WrongDiskError
from twinfs.fsio.syscalls import open_beneath
from twinfs.journal.log import LogFile
from twinfs.journal.replay import Recovered, recover
from twinfs.mirror import quarantined, unreached
from twinfs.mirror.exclude import Excludes
from twinfs.mirror.label import Label, Leg
from twinfs.mirror.legs import check_partners, open_legs, other, path_of
from twinfs.mirror.parting import roles_together
from twinfs.mirror.quarantined import Stock
from twinfs.mirror.report import leg_status
from twinfs.mirror.survey import survey
from twinfs.mirror.versions.ledger import Ledger, together
from twinfs.model import (
    Held,
    LegState,
    LegStatus,
    Pending,
    PutAside,
    Role,
    Survey,
    VolumeConfig,
    VolumeState,
    VolumeStatus,
)

_MOST_LOOKED_AT: Final = 10_000

_T = TypeVar("_T")


def status(config: VolumeConfig, state_dir: Path) -> VolumeStatus:
    left = LogFile(state_dir / config.name, config.volume_id)
    recovered = recover(left)
    changes = len(recovered.changes) + len(recovered.stale) + len(recovered.compares)
    is_clean = recovered.is_closed and not changes
    since = min(recovered.since.values(), default=left.modified)
    age = max(0.0, time.time() - since) if changes else 0.0
    legs, alone, problem, refused = _legs(config, is_clean=is_clean)
    state = VolumeState.CLEAN if is_clean else VolumeState.DIRTY
    action = None if is_clean else f"twinfs sync {config.name}, or twinfs mount {config.name}"
    if alone is not None:
        command = "attach" if alone.is_detached else "sync"
        state, action = VolumeState.DEGRADED, f"twinfs {command} {config.name}"
    for leg in legs:
        if leg.state not in (LegState.IN_SYNC, LegState.STALE):
            state = VolumeState.FAILED if leg.role is Role.PRIMARY else VolumeState.DEGRADED
            mount = f"the {leg.role} is {leg.state}: mount the right disk at {leg.path}"
            action = refused.get(leg.role, mount)
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
        pending=Pending(changes, _bytes_pending(legs, recovered), age),
        last_scrub=None,
        action=action,
        unreached=unreached.load(state_dir / config.name).paths,
        versions=_held(config),
        quarantine=_put_aside(config),
    )


def _bytes_pending(legs: Sequence[LegStatus], recovered: Recovered) -> int:
    """What of the primary's contents is to be copied; as far as a look at some thousand files tells."""
    primary = next((leg for leg in legs if leg.role is Role.PRIMARY), None)
    if primary is None or primary.state not in (LegState.IN_SYNC, LegState.STALE):
        return 0
    fd = os.open(primary.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        looked_at = islice(recovered.stale.values(), _MOST_LOOKED_AT)
        return sum(stale.ranges().total_bytes(_size_of(fd, stale.path)) for stale in looked_at)
    finally:
        os.close(fd)


def _size_of(root_fd: int, path: bytes) -> int:
    """0 for what is not there, or cannot be looked at."""
    try:
        fd = open_beneath(root_fd, path, os.O_PATH)
    except OSError:
        return 0
    try:
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def _held(config: VolumeConfig) -> Held | None:
    if config.keep_versions_seconds is None:
        return None
    return together(_of_each_leg(config, lambda leg: Ledger().held(leg.fd)))


def _put_aside(config: VolumeConfig) -> PutAside:
    return quarantined.together(_of_each_leg(config, lambda leg: Stock().held(leg.fd, leg.role)))


def log_trouble(config: VolumeConfig, state_dir: Path) -> str:
    """What is wrong with the intent log as the last session left it; empty where nothing is."""
    directory = state_dir / config.name
    left = LogFile(directory, config.volume_id)
    for _ in left:
        pass
    if left.is_whole:
        return ""
    if left.is_there:
        return f"the intent log in {directory} is damaged, or about other disks"
    was_used = any(session for session in _of_each_leg(config, lambda leg: leg.label.session))
    return f"the intent log in {directory} is gone" if was_used else ""


def _of_each_leg(config: VolumeConfig, look: Callable[[Leg], _T]) -> list[_T]:
    """Of those that are there: what is wrong with a leg is said elsewhere."""
    found: list[_T] = []
    for place in Role:
        with contextlib.suppress(TwinfsError, OSError):
            leg = Leg.open(place, path_of(config, place), config.volume_id)
            try:
                found.append(look(leg))
            finally:
                leg.close()
    return found


def promotion(config: VolumeConfig, state_dir: Path) -> Survey | None:
    """What would be lost if the secondary went on without a primary that is not there; None when it is."""
    try:
        legs = open_legs(config, is_degraded_allowed=True)
    except SplitBrainError:
        return None
    legs.close()
    if not legs.is_taking_over:
        return None
    lost = unreached.paths_left(recover(LogFile(state_dir / config.name, config.volume_id)))
    examples = [f"had not reached it: {path.decode(errors='replace') or '(everything)'}" for path in lost]
    return Survey(differing=len(lost), examples=tuple(sorted(examples)))


def differences(config: VolumeConfig, preferred: Role) -> Survey:
    """How the other leg differs from the preferred one, when neither is in use."""
    first = Leg.open(preferred, path_of(config, preferred), config.volume_id)
    try:
        second = Leg.open(other(preferred), path_of(config, other(preferred)), config.volume_id)
        try:
            return survey(first.fd, second.fd, Excludes(config.exclude))
        finally:
            second.close()
    finally:
        first.close()


def _legs(
    config: VolumeConfig, *, is_clean: bool
) -> tuple[tuple[LegStatus, ...], Label | None, str, dict[Role, str]]:
    """Their states, the primary first; the label of one that went on alone; what is wrong between them, and
    with those that cannot be used."""
    opened: list[Leg] = []
    refused: dict[Role, str] = {}
    found: list[LegStatus] = []
    alone: Label | None = None
    for place in Role:
        try:
            leg = Leg.open(place, path_of(config, place), config.volume_id)
        except TwinfsError as error:
            found.append(LegStatus(place, path_of(config, place), _state_for(error), 0, 0))
            if type(error) is not LegNotMountedError:
                refused[place] = str(error)
            continue
        opened.append(leg)
        is_in_sync = is_clean or leg.role is Role.PRIMARY
        if leg.label.is_alone:
            alone = leg.label
        found.append(leg_status(leg, LegState.IN_SYNC if is_in_sync else LegState.STALE))
    problem = ""
    try:
        if len(opened) == len(Role):
            first, second = sorted(opened, key=lambda leg: leg.role)
            check_partners(config, first, second)
    except SplitBrainError as error:
        problem = str(error)
        # Each calls itself the primary now, and lacks what the other was given.
        roles = roles_together([leg.label for leg in opened])
        found = [
            replace(leg, role=role, state=LegState.STALE) for leg, role in zip(found, roles, strict=True)
        ]
    finally:
        for leg in opened:
            leg.close()
    return tuple(sorted(found, key=lambda leg: leg.role)), alone, problem, refused


def _state_for(error: TwinfsError) -> LegState:
    match error:
        case LegNotMountedError():
            return LegState.MISSING
        case WrongDiskError():
            return LegState.WRONG_DISK
        case _:
            return LegState.FAULTY
