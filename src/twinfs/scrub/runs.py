"""The scrubs there were: one row each, the last of them perhaps still going on."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from twinfs.model import BadLeg, Mismatch, MismatchKind, ReadMethod, ScrubRun, ScrubSummary
from twinfs.scrub.store import FILE_NAME, Store
from twinfs.scrub.todo import Links, Suspects, Todo

_RESUME_DAYS: Final = 14
"""An interrupted run that is older proves too little of the files it began with."""

_PATIENCE_SECONDS: Final = 1.0

_COLUMNS: Final = (
    "started, finished, plan, files, bytes, mismatches, repaired, busy, seconds, primary_read, secondary_read"
)

WALKING: Final = "walking"
READING: Final = "reading"
EXAMINING: Final = "examining"
ENDED: Final = "ended"


class Runs:
    """The tables `run` and `finding`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._db = store.db

    def begin(self, plan: str, read: tuple[ReadMethod, ReadMethod]) -> tuple[int, bool]:
        """(the run's number, whether it goes on with an interrupted one of the same plan)."""
        now = time.time()
        with self._store.transaction() as db:
            row = db.execute("SELECT id, plan, phase, started FROM run ORDER BY id DESC LIMIT 1").fetchone()
            is_left = row is not None and row[1] == plan and row[2] != ENDED
            if is_left and now - row[3] < _RESUME_DAYS * 86400:
                return row[0], True
            for table in (Todo(self._store), Suspects(self._store), Links(self._store)):
                table.clear()
            added = db.execute(
                "INSERT INTO run (started, plan, phase, primary_read, secondary_read) VALUES (?, ?, ?, ?, ?)",
                (now, plan, WALKING, *read),
            ).lastrowid
            assert added is not None
            return added, False

    def phase(self, run: int) -> tuple[str, bytes | None]:
        """(what it was doing, the last directory it had walked past)."""
        phase, position = self._db.execute("SELECT phase, position FROM run WHERE id = ?", (run,)).fetchone()
        return phase, position

    def set_phase(self, run: int, phase: str, position: bytes | None = None) -> None:
        self._db.execute("UPDATE run SET phase = ?, position = ? WHERE id = ?", (phase, position, run))

    def set_totals(self, run: int, files: int, size: int) -> None:
        self._db.execute("UPDATE run SET files_total = ?, bytes_total = ? WHERE id = ?", (files, size, run))

    def totals(self, run: int) -> tuple[int, int]:
        """Files and bytes that the run has to read in all."""
        files, size = self._db.execute(
            "SELECT files_total, bytes_total FROM run WHERE id = ?", (run,)
        ).fetchone()
        return files, size

    def add(self, run: int, *, files: int = 0, size: int = 0, busy: int = 0, seconds: float = 0.0) -> None:
        """Count what was done since the last time."""
        self._db.execute(
            "UPDATE run SET files = files + ?, bytes = bytes + ?, busy = busy + ?, seconds = seconds + ?"
            " WHERE id = ?",
            (files, size, busy, seconds, run),
        )

    def found(self, run: int, path: bytes, mismatch: Mismatch) -> None:
        """A mismatch; of one that was found before (and is now repaired, say) the later word counts."""
        self._db.execute(
            "INSERT OR REPLACE INTO finding (run, path, kind, bad_leg, repaired, detail)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (run, path, mismatch.kind, mismatch.bad_leg, mismatch.repaired, mismatch.detail),
        )

    def unrepaired(self, run: int) -> list[bytes]:
        rows = self._db.execute("SELECT path FROM finding WHERE run = ? AND NOT repaired", (run,))
        return [row[0] for row in rows]

    def last_findings(self, limit: int = 1000) -> list[Mismatch]:
        """Of the last finished run."""
        rows = self._db.execute(
            "SELECT path, kind, bad_leg, repaired, detail FROM finding WHERE run ="
            " (SELECT max(id) FROM run WHERE finished > 0) ORDER BY path LIMIT ?",
            (limit,),
        )
        return [
            Mismatch(os.fsdecode(path), MismatchKind(kind), BadLeg(bad_leg), bool(repaired), detail)
            for path, kind, bad_leg, repaired, detail in rows
        ]

    def end(self, run: int) -> ScrubRun:
        """It is finished; what it found is counted."""
        with self._store.transaction() as db:
            db.execute(
                "UPDATE run SET phase = ?, finished = ?, mismatches ="
                " (SELECT count(*) FROM finding WHERE run = run.id), repaired ="
                " (SELECT count(*) FROM finding WHERE run = run.id AND repaired) WHERE id = ?",
                (ENDED, time.time(), run),
            )
        return self.get(run)

    def get(self, run: int) -> ScrubRun:
        row = self._db.execute(f"SELECT {_COLUMNS} FROM run WHERE id = ?", (run,)).fetchone()
        return _run(row)

    def history(self, limit: int = 60) -> list[ScrubRun]:
        """The newest finished ones, oldest first."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM run WHERE finished > 0 ORDER BY id DESC LIMIT ?", (limit,)
        ).fetchall()
        return [_run(row) for row in reversed(rows)]


def _run(row: tuple[Any, ...]) -> ScrubRun:
    *values, primary, secondary = row
    return ScrubRun(*[*values, (ReadMethod(primary), ReadMethod(secondary))])


def last_scrub(directory: Path) -> ScrubSummary | None:
    """Of the volume whose state is in `directory`; None where none has ever finished. Writes nothing."""
    row = _select(
        directory,
        "SELECT finished, mismatches, repaired, bytes FROM run WHERE finished > 0 ORDER BY id DESC LIMIT 1",
    )
    return None if row is None else ScrubSummary(*row)


def interrupted_plan(directory: Path) -> str | None:
    """The plan of the last run, if it did not end."""
    row = _select(directory, "SELECT plan, phase FROM run ORDER BY id DESC LIMIT 1")
    return row[0] if row is not None and row[1] != ENDED else None


def _select(directory: Path, query: str) -> tuple[Any, ...] | None:
    path = directory / FILE_NAME
    if not path.exists():
        return None
    try:
        db = sqlite3.connect(path, _PATIENCE_SECONDS)
        try:
            row: tuple[Any, ...] | None = db.execute(query).fetchone()
        finally:
            db.close()
    except sqlite3.Error:
        return None  # damaged, or of another version: the next scrub says so, and begins it anew
    return row
