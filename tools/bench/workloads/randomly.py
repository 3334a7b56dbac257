"""Calls of 4 KiB at random places of one file, as databases and virtual machines make them."""

from __future__ import annotations

import os
import random

from tools.bench.job import KIB, MIB, Job
from tools.bench.workloads.phase import Act, Phase, Workload

_CALL_BYTES = 4 * KIB


def _path(job: Job) -> str:
    return f"{job.directory}/random"


def _offsets(job: Job) -> list[int]:
    # The same places on every system and in every round.
    chosen = random.Random(2)
    blocks = job.sizes.random_file_bytes // _CALL_BYTES
    return [chosen.randrange(blocks) * _CALL_BYTES for _ in range(job.sizes.random_calls)]


def _make(job: Job) -> Act:
    def act() -> int:
        with open(_path(job), "wb") as file:
            for _ in range(job.sizes.random_file_bytes // MIB):
                file.write(os.urandom(MIB))
        return 1

    return act


def _read(job: Job) -> Act:
    path, offsets = _path(job), _offsets(job)

    def act() -> int:
        fd = os.open(path, os.O_RDONLY)
        for offset in offsets:
            os.pread(fd, _CALL_BYTES, offset)
        os.close(fd)
        return len(offsets)

    return act


def _write(job: Job) -> Act:
    path, offsets, block = _path(job), _offsets(job), os.urandom(_CALL_BYTES)

    def act() -> int:
        fd = os.open(path, os.O_WRONLY)
        for offset in offsets:
            os.pwrite(fd, block, offset)
        os.close(fd)
        return len(offsets)

    return act


WORKLOAD = Workload(
    "random",
    (
        Phase("make the file", "files", _make, changes=True, is_hidden=True),
        Phase("random 4 KiB reads, warm", "calls", _read, is_warm=True),
        Phase("random 4 KiB reads, fresh mount", "calls", _read, needs_fresh_mount=True),
        Phase("random 4 KiB writes", "calls", _write, changes=True),
    ),
)
