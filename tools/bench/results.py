"""What was measured, and what becomes of it: medians, ratios, JSON."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable
from pathlib import Path

import msgspec
from tools.bench.job import Sizes
from tools.bench.systems import BASELINE
from tools.bench.workloads import WORKLOADS
from tools.bench.workloads.phase import Hold

from twinfs import __version__


class Sample(msgspec.Struct, frozen=True):
    """One phase, once. `seconds` has rsync's time in it, and no drain."""

    workload: str
    phase: str
    system: str
    seconds: float
    count: int
    drain_seconds: float | None = None


class MemorySample(msgspec.Struct, frozen=True):
    system: str
    files: int
    peak_bytes: int


class Trouble(msgspec.Struct, frozen=True):
    """A system that is missing here (workload "all"), or failed in a workload."""

    system: str
    workload: str
    message: str


class Result(msgspec.Struct, frozen=True):
    """Medians over the rounds. `ratio` is the rate as a part of the plain directory's in the same run."""

    workload: str
    phase: str
    system: str
    unit: str
    count: int
    seconds: float
    rounds_seconds: list[float]
    rate_per_second: float
    ratio: float | None
    hold_ratio: float | None
    drain_seconds: float | None

    @property
    def is_below_hold(self) -> bool:
        return self.ratio is not None and self.hold_ratio is not None and self.ratio < self.hold_ratio


class Machine(msgspec.Struct, frozen=True):
    cpus: int
    memory_bytes: int
    kernel: str
    python: str
    twinfs: str

    @classmethod
    def here(cls) -> Machine:
        memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(
            os.cpu_count() or 1, memory_bytes, platform.release(), platform.python_version(), __version__
        )


class Settings(msgspec.Struct, frozen=True):
    """`drops_caches` is false where that needed root: then only the mount was fresh in "cold"."""

    rounds: int
    is_quick: bool
    legs_on_loops: bool
    drops_caches: bool
    batch_interval: str
    tree_files: int
    sizes: Sizes


class Report(msgspec.Struct, frozen=True, tag="bench"):
    started: str
    finished: str
    is_complete: bool
    machine: Machine
    settings: Settings
    results: list[Result]
    memory: list[MemorySample]
    troubles: list[Trouble]


def summarise(samples: Iterable[Sample]) -> list[Result]:
    groups: dict[tuple[str, str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.workload, sample.phase, sample.system), []).append(sample)
    medians = {key: statistics.median(s.seconds for s in group) for key, group in groups.items()}
    return [_result(group, medians[key], medians.get((*key[:2], BASELINE))) for key, group in groups.items()]


def _result(group: list[Sample], seconds: float, plain_seconds: float | None) -> Result:
    first = group[0]
    phase = WORKLOADS[first.workload].phase(first.phase)
    drains = [sample.drain_seconds for sample in group if sample.drain_seconds is not None]
    return Result(
        workload=first.workload,
        phase=first.phase,
        system=first.system,
        unit=phase.unit,
        count=first.count,
        seconds=seconds,
        rounds_seconds=[sample.seconds for sample in group],
        rate_per_second=first.count / seconds,
        ratio=None if plain_seconds is None else plain_seconds / seconds,
        hold_ratio=_hold_ratio(phase.hold, first.system),
        drain_seconds=statistics.median(drains) if drains else None,
    )


def _hold_ratio(hold: Hold | None, system: str) -> float | None:
    if hold is None:
        return None
    return {"twinfs sync": hold.sync, "twinfs batched": hold.batched}.get(system)


def summarise_memory(samples: Iterable[MemorySample]) -> list[MemorySample]:
    """The largest of the rounds: a peak is a peak."""
    largest: dict[str, MemorySample] = {}
    for sample in samples:
        known = largest.get(sample.system)
        if known is None or sample.peak_bytes > known.peak_bytes:
            largest[sample.system] = sample
    return list(largest.values())


def write_json(report: Report, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
