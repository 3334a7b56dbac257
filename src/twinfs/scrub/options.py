"""What one scrub is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from twinfs.model import Role
from twinfs.scrub.plan import Plan


@dataclass(frozen=True, slots=True)
class Options:
    """As the command line has them. `prefer`: whose copy is right where that is not known. `max_rate`: bytes
    a second of each leg, 0 for no limit. `gives_way`: slower while people work on the volume."""

    plan: Plan
    is_repairing: bool = False
    prefer: Role | None = None
    max_rate: float = 0.0
    gives_way: bool = True
