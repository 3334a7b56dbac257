"""Many files of 4 KiB, as mail folders and caches hold them: 1,000 to a directory."""

from __future__ import annotations

import os

from tools.bench.job import KIB, Job
from tools.bench.workloads.phase import Act, Hold, Phase, Workload

_FILE_BYTES = 4 * KIB
_PER_DIRECTORY = 1_000
# One pass over 10,000 cached entries takes some milliseconds: too short to time.
_STAT_PASSES = 10


def _paths(job: Job) -> list[str]:
    return [f"{job.directory}/{n // _PER_DIRECTORY:03}/{n:06}" for n in range(job.sizes.small_files)]


def _create(job: Job) -> Act:
    paths, content = _paths(job), os.urandom(_FILE_BYTES)
    for directory in {os.path.dirname(path) for path in paths}:
        os.mkdir(directory)

    def act() -> int:
        for path in paths:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(fd, content)
            os.close(fd)
        return len(paths)

    return act


def _stat(job: Job) -> Act:
    paths = _paths(job) * _STAT_PASSES

    def act() -> int:
        for path in paths:
            os.stat(path)
        return len(paths)

    return act


def _read(job: Job) -> Act:
    paths = _paths(job)

    def act() -> int:
        for path in paths:
            fd = os.open(path, os.O_RDONLY)
            os.read(fd, _FILE_BYTES)
            os.close(fd)
        return len(paths)

    return act


def _unlink(job: Job) -> Act:
    paths = _paths(job)

    def act() -> int:
        for path in paths:
            os.unlink(path)
        return len(paths)

    return act


WORKLOAD = Workload(
    "small-files",
    (
        Phase("create 4 KiB files", "files", _create, changes=True, hold=Hold(sync=0.2, batched=0.3)),
        Phase("stat, warm", "calls", _stat, is_warm=True, hold=Hold(sync=0.8, batched=0.8)),
        Phase("open, read, close, warm", "files", _read, is_warm=True, hold=Hold(sync=0.8, batched=0.8)),
        Phase("unlink", "files", _unlink, changes=True),
    ),
)
