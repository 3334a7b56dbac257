"""What workloads are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tools.bench.job import Job

# Does the timed work; returns how many units it handled.
Act = Callable[[], int]


@dataclass(frozen=True)
class Hold:
    """The ratios to a plain directory that twinfs is meant to reach."""

    sync: float
    batched: float


@dataclass(frozen=True)
class Phase:
    """One measurement. `prepare` runs outside the measured time."""

    name: str
    unit: str
    prepare: Callable[[Job], Act]
    # What has to reach the secondary afterwards: rsync's run, or the drain.
    changes: bool = False
    # Done once unmeasured before.
    is_warm: bool = False
    # Needed by later phases, not a result.
    is_hidden: bool = False
    needs_fresh_mount: bool = False
    needs_dropped_caches: bool = False
    hold: Hold | None = None


@dataclass(frozen=True)
class Workload:
    """Phases that run one after the other on one fresh set-up of a system.

    `beneath` runs in the primary before anything is mounted. `wants_memory`: the daemon's peak memory
    after the last phase is a result too.
    """

    name: str
    phases: tuple[Phase, ...]
    beneath: Phase | None = None
    wants_memory: bool = False

    def phase(self, name: str) -> Phase:
        every = (*self.phases, *([self.beneath] if self.beneath else []))
        return next(phase for phase in every if phase.name == name)
