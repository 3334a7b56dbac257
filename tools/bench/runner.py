"""Sets systems up, runs workloads on them, collects samples, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.bench.errors import BenchError
from tools.bench.job import Job, Sizes
from tools.bench.mounts import drop_caches, uninterrupted
from tools.bench.results import MemorySample, Sample, Trouble
from tools.bench.space import Place, fresh_place
from tools.bench.systems.base import System
from tools.bench.worker import in_worker
from tools.bench.workloads.phase import Phase, Workload


@dataclass
class Runner:
    """Collects into its lists as it goes, so that an interrupted run still has what it measured."""

    scratch: Path
    sizes: Sizes
    on_loops: bool
    keep_files: bool
    tree_tar: Path
    tree_files: int
    say: Callable[[str], None]
    samples: list[Sample] = field(default_factory=list)
    memory: list[MemorySample] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)

    def run(self, workloads: list[Workload], systems: list[type[System]], rounds: int) -> None:
        """Each round visits every system in turn: a machine that slows down meanwhile slows all of them."""
        present = [system for system in systems if not self._is_missing(system)]
        total, number = len(workloads) * rounds * len(present), 0
        for workload in workloads:
            for round_number in range(1, rounds + 1):
                for system in present:
                    number += 1
                    self.say(f"[{number}/{total}] {workload.name}: {system.name}, round {round_number}")
                    self._run_one(workload, system)

    def _is_missing(self, system: type[System]) -> bool:
        why = system.missing()
        if why is not None:
            self._note(Trouble(system.name, "all", why))
        return why is not None

    def _note(self, trouble: Trouble) -> None:
        self.say(f"  {trouble.system}: {trouble.message}")
        self.troubles.append(trouble)

    def _run_one(self, workload: Workload, kind: type[System]) -> None:
        try:
            with fresh_place(self.scratch, on_loops=self.on_loops, keep_files=self.keep_files) as place:
                self._run_phases(workload, kind, place)
        except BenchError as error:
            self._note(Trouble(kind.name, workload.name, str(error)))

    def _run_phases(self, workload: Workload, kind: type[System], place: Place) -> None:
        if workload.beneath is not None:
            in_worker(workload.beneath, self._job(place.primary))
        with started(kind(place)) as system:
            for phase in workload.phases:
                self._measure(workload, phase, system)
            if workload.wants_memory and system.daemon_pid is not None:
                peak_bytes = _peak_memory_bytes(system.daemon_pid)
                self.memory.append(MemorySample(kind.name, self.sizes.walk_files, peak_bytes))

    def _measure(self, workload: Workload, phase: Phase, system: System) -> None:
        if phase.needs_fresh_mount:
            system.stop()
            system.start()
        os.sync()  # or it would write out what the phase before left
        if phase.needs_dropped_caches:
            drop_caches()
        timing = in_worker(phase, self._job(system.root))
        cost_seconds, drain_seconds = 0.0, None
        if phase.changes:
            settled = system.settle()
            cost_seconds, drain_seconds = settled.cost_seconds, settled.drain_seconds
        if not phase.is_hidden:
            seconds = timing.seconds + cost_seconds
            self.samples.append(
                Sample(workload.name, phase.name, system.name, seconds, timing.count, drain_seconds)
            )

    def _job(self, directory: Path) -> Job:
        return Job(str(directory), self.sizes, str(self.tree_tar), self.tree_files)


@contextlib.contextmanager
def started(system: System) -> Iterator[System]:
    try:
        system.start()
        yield system
        system.stop()
    finally:
        with uninterrupted():
            system.abandon()


def _peak_memory_bytes(pid: int) -> int:
    """VmHWM, see proc_pid_status(5)."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise BenchError(f"/proc/{pid}/status tells no peak memory")
    return int(found[1]) * 1024
