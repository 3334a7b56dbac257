"""The two legs of a volume: which is there, and which of them is the primary now.

The settings name two places. Which of the disks there is the primary is on their labels: it changes when
the secondary is promoted, and must be known although the other disk cannot be written any more.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from twinfs.errors import LegError, LegFaultyError, LegNotMountedError, SplitBrainError
from twinfs.mirror.label import Leg
from twinfs.mirror.parting import history
from twinfs.model import Role, VolumeConfig


@dataclass(frozen=True, slots=True)
class Legs:
    """`secondary` is None while it is missing. `is_taking_over`: the one that is there was the secondary,
    and is asked to go on alone."""

    primary: Leg
    secondary: Leg | None
    is_taking_over: bool = False

    @property
    def missing_place(self) -> Role:
        return other(self.primary.place)

    def close(self) -> None:
        self.primary.close()
        if self.secondary is not None:
            self.secondary.close()


def other(place: Role) -> Role:
    return Role.SECONDARY if place is Role.PRIMARY else Role.PRIMARY


def path_of(config: VolumeConfig, place: Role) -> str:
    return config.primary if place is Role.PRIMARY else config.secondary


def open_legs(config: VolumeConfig, *, is_degraded_allowed: bool) -> Legs:
    """Open what is there. Nothing is written.

    LegNotMountedError, LegFaultyError: one is missing, or fails, and that was not allowed, or both are.
    WrongDiskError, LegError: one cannot be used. SplitBrainError: each went on without the other.
    """
    with contextlib.ExitStack() as undo:
        found: list[Leg] = []
        missing: list[LegError] = []
        for place in (Role.PRIMARY, Role.SECONDARY):
            try:
                leg = Leg.open(place, path_of(config, place), config.volume_id)
            except (LegNotMountedError, LegFaultyError) as error:
                missing.append(error)
                continue
            undo.callback(leg.close)
            found.append(leg)
        if not found:
            raise missing[0]
        if missing:
            legs = _alone(config, found[0], missing[0], is_allowed=is_degraded_allowed)
        else:
            legs = _together(config, *found)
        undo.pop_all()
    if legs.secondary is not None and legs.primary.label.is_detached:
        legs.secondary.close()
        legs = Legs(legs.primary, None)
    return legs


def _alone(config: VolumeConfig, leg: Leg, missing: LegError, *, is_allowed: bool) -> Legs:
    if leg.role is Role.PRIMARY:
        if is_allowed or leg.label.is_detached:
            return Legs(leg, None)
    elif is_allowed:
        return Legs(leg, None, is_taking_over=True)
    raise type(missing)(f"{missing}\n  Or start without it: twinfs mount --degraded {config.name}")


def _together(config: VolumeConfig, first: Leg, second: Leg) -> Legs:
    primary, secondary = (second, first) if _is_primary(second, first) else (first, second)
    check_partners(config, primary, secondary)
    return Legs(primary, secondary)


def _is_primary(leg: Leg, partner: Leg) -> bool:
    """Who went on alone; else who has the role; should a promotion have been cut short, the later one."""
    if leg.label.is_alone != partner.label.is_alone:
        return leg.label.is_alone
    if leg.role is not partner.role:
        return leg.role is Role.PRIMARY
    return leg.label.events > partner.label.events


def check_partners(config: VolumeConfig, primary: Leg, secondary: Leg) -> None:
    """SplitBrainError when the secondary went on without the primary."""
    first, second = primary.label, secondary.label
    # One that failed while the other still followed it was alone until then, and not since.
    is_followed = second.session != "" and first.took_over == second.session
    if (first.is_alone and second.is_alone and not is_followed) or second.events > first.events:
        legs = sorted((primary, secondary), key=lambda leg: leg.place)
        raise SplitBrainError(
            f"volume {config.name}: each leg was changed without the other; refusing to choose.\n"
            + "".join(f"  {history(leg.path, leg.label)}\n" for leg in legs)
            + f"  What differs: twinfs resync {config.name} --prefer primary --dry-run\n"
            f"  To choose (the other's differing files go to its quarantine): "
            f"twinfs resync {config.name} --prefer primary|secondary"
        )


def refuse_incomplete(config: VolumeConfig) -> LegError:
    """What is said when a leg that never had everything is asked to go on alone."""
    return LegError(
        f"volume {config.name}: the leg that is there never had everything of the other.\n"
        f"  To go on with what it has all the same: twinfs promote {config.name} secondary --force"
    )
