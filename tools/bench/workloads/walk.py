"""A large tree that was there before the mount: every entry listed and looked at, cold and again."""

from __future__ import annotations

import os

from tools.bench.job import Job
from tools.bench.workloads.phase import Act, Hold, Phase, Workload

_PER_DIRECTORY = 1_000


def _make(job: Job) -> Act:
    def act() -> int:
        for n in range(job.sizes.walk_files):
            directory = f"{job.directory}/{n // _PER_DIRECTORY:04}"
            if n % _PER_DIRECTORY == 0:
                os.mkdir(directory)
            os.close(os.open(f"{directory}/{n:07}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        return job.sizes.walk_files

    return act


def _walk(job: Job) -> Act:
    def act() -> int:
        found, left = 0, [job.directory]
        while left:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    entry.stat(follow_symlinks=False)
                    found += 1
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
        return found

    return act


WORKLOAD = Workload(
    "walk",
    (
        Phase("walk, cold", "entries", _walk, needs_dropped_caches=True),
        Phase("walk, warm", "entries", _walk, is_warm=True, hold=Hold(sync=0.8, batched=0.8)),
    ),
    beneath=Phase("make the tree", "files", _make),
    wants_memory=True,
)
