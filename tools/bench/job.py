"""What a worker is asked to do, and how large the workloads are."""

from __future__ import annotations

import msgspec

KIB = 1 << 10
MIB = 1 << 20


class Sizes(msgspec.Struct, frozen=True):
    small_files: int = 10_000
    tree_files: int = 20_000
    stream_bytes: int = 1 << 30
    random_file_bytes: int = 256 * MIB
    random_calls: int = 20_000
    sqlite_transactions: int = 200
    sqlite_commits: int = 200
    walk_files: int = 200_000


FULL = Sizes()
# A fiftieth: shows that everything runs; its ratios are mostly noise.
QUICK = Sizes(
    small_files=200,
    tree_files=400,
    stream_bytes=20 * MIB,
    random_file_bytes=5 * MIB,
    random_calls=400,
    sqlite_transactions=4,
    sqlite_commits=4,
    walk_files=4_000,
)


class Job(msgspec.Struct, frozen=True):
    """Where a phase works, and on what. `tree_files` is how many members `tree_tar` really has."""

    directory: str
    sizes: Sizes
    tree_tar: str
    tree_files: int


class Timing(msgspec.Struct, frozen=True):
    """A worker's answer: how long the phase took, and how many of its units it handled."""

    seconds: float
    count: int
