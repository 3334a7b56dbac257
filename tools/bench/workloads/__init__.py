"""The workload list: every system runs the same one."""

from __future__ import annotations

from tools.bench.workloads import database, randomly, small_files, streams, tree, walk
from tools.bench.workloads.phase import Workload

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        small_files.WORKLOAD,
        tree.WORKLOAD,
        streams.WORKLOAD,
        randomly.WORKLOAD,
        database.WORKLOAD,
        walk.WORKLOAD,
    )
}
