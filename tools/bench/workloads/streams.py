"""One large file, written and read from the beginning to the end.

Nothing is synced within the measured time: what is compared is the cost of the file system, not the disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from tools.bench.job import KIB, MIB, Job
from tools.bench.workloads.phase import Act, Hold, Phase, Workload

_WRITE = Hold(sync=0.45, batched=0.8)
_READ = Hold(sync=0.8, batched=0.8)


def _writer(call_bytes: int) -> Callable[[Job], Act]:
    def prepare(job: Job) -> Act:
        path = f"{job.directory}/stream"
        # Not zeros: those may be stored as a hole.
        block, calls = os.urandom(call_bytes), job.sizes.stream_bytes // call_bytes
        if os.path.exists(path):
            os.unlink(path)

        def act() -> int:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            for _ in range(calls):
                os.write(fd, block)
            os.close(fd)
            return calls * call_bytes // MIB

        return act

    return prepare


def _reader(call_bytes: int) -> Callable[[Job], Act]:
    def prepare(job: Job) -> Act:
        path, buffer = f"{job.directory}/stream", bytearray(call_bytes)

        def act() -> int:
            total_bytes = 0
            fd = os.open(path, os.O_RDONLY)
            while got := os.readv(fd, [buffer]):
                total_bytes += got
            os.close(fd)
            return total_bytes // MIB

        return act

    return prepare


WORKLOAD = Workload(
    "streams",
    (
        Phase("write, 4 KiB calls", "MiB", _writer(4 * KIB), changes=True, hold=_WRITE),
        Phase("write, 1 MiB calls", "MiB", _writer(MIB), changes=True, hold=_WRITE),
        Phase("read, 4 KiB calls, warm", "MiB", _reader(4 * KIB), is_warm=True, hold=_READ),
        Phase("read, 1 MiB calls, warm", "MiB", _reader(MIB), is_warm=True, hold=_READ),
        # The mount's own page cache is empty, that of the leg beneath is not: every byte passes the daemon.
        Phase("read, 1 MiB calls, fresh mount", "MiB", _reader(MIB), needs_fresh_mount=True),
    ),
)
