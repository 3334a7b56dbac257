"""Whether a volume needs a person, and what to tell them."""

from __future__ import annotations

from dataclasses import dataclass

from twinfs.model import LegState, LegStatus, VolumeState, VolumeStatus
from twinfs.words import count

_FINE = (LegState.IN_SYNC, LegState.STALE)


@dataclass(frozen=True, slots=True)
class Attention:
    """A trouble that lasts. `key` stays the same while it is the same trouble; `text` says how it is now."""

    key: str
    text: str


def attention_of(status: VolumeStatus) -> Attention | None:
    """What a person has to look after: degraded, failed, a leg that is out, or whatever has an action."""
    legs = [leg for leg in status.legs if leg.state not in _FINE]
    is_bad = status.state in (VolumeState.DEGRADED, VolumeState.FAILED)
    if not legs and not is_bad and status.action is None:
        return None
    # Not the action's text: it may hold figures that change while the trouble is the same.
    key = "+".join([status.state if is_bad else "action", *(f"{leg.role}:{leg.state}" for leg in legs)])
    return Attention(key, _text(status, legs))


def _text(status: VolumeStatus, legs: list[LegStatus]) -> str:
    about = [f"the volume is {status.state}", *(f"the {leg.role} is {leg.state}: {leg.path}" for leg in legs)]
    if status.pending.changes:
        about.append(f"{count(status.pending.changes, 'change')} waiting for it")
    return "; ".join(about) + (f". To do: {status.action}" if status.action else "")
