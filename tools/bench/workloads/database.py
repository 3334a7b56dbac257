"""sqlite with its defaults: a rollback journal, and an fsync at each commit."""

from __future__ import annotations

import sqlite3

from tools.bench.job import Job
from tools.bench.workloads.phase import Act, Phase, Workload

_ROWS_IN_TRANSACTION = 100
_INSERT = "INSERT INTO log(text) VALUES (?)"


def _open(job: Job) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{job.directory}/log.sqlite", isolation_level=None)
    connection.execute("CREATE TABLE IF NOT EXISTS log(id INTEGER PRIMARY KEY, text TEXT)")
    return connection


def _transactions(job: Job) -> Act:
    connection = _open(job)
    rows = [
        (f"line {n:04} of a log that nobody reads until it is gone",) for n in range(_ROWS_IN_TRANSACTION)
    ]

    def act() -> int:
        for _ in range(job.sizes.sqlite_transactions):
            connection.execute("BEGIN")
            connection.executemany(_INSERT, rows)
            connection.execute("COMMIT")
        connection.close()
        return job.sizes.sqlite_transactions * _ROWS_IN_TRANSACTION

    return act


def _single_rows(job: Job) -> Act:
    connection = _open(job)

    def act() -> int:
        for n in range(job.sizes.sqlite_commits):
            connection.execute(_INSERT, (f"row {n}",))
        connection.close()
        return job.sizes.sqlite_commits

    return act


WORKLOAD = Workload(
    "sqlite",
    (
        Phase("sqlite, 100 rows a commit", "rows", _transactions, changes=True),
        Phase("sqlite, 1 row a commit", "commits", _single_rows, changes=True),
    ),
)
