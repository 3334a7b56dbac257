"""SQLite with several writers at once, in both of its journal modes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from support.machine import finish, start_python
from support.volume import Volume

_WRITER = """
import sqlite3, sys
from contextlib import closing
path, who = sys.argv[1:]
with closing(sqlite3.connect(path, timeout=100, isolation_level=None)) as db:
    db.execute("PRAGMA synchronous=NORMAL")
    for number in range(40):
        db.execute("BEGIN IMMEDIATE")
        rows = [(who, number * 5 + n, who * 500) for n in range(5)]
        db.executemany("INSERT INTO entry VALUES (?, ?, ?)", rows)
        db.execute("UPDATE total SET number = number + 5")
        db.execute("COMMIT" if number % 10 != 9 else "ROLLBACK")
"""

_READER = """
import sqlite3, sys, time
from contextlib import closing
with closing(sqlite3.connect(sys.argv[1], timeout=100, isolation_level=None)) as db:
    for _ in range(40):
        db.execute("BEGIN")
        total = db.execute("SELECT number FROM total").fetchone()[0]
        assert db.execute("SELECT count(*) FROM entry").fetchone()[0] == total
        db.execute("COMMIT")
        time.sleep(0.02)
"""


@pytest.mark.parametrize("journal", ("WAL", "DELETE", "TRUNCATE"))
def test_concurrent_writers_and_readers_keep_the_database_sound(place: Path, journal: str) -> None:
    path = place / "data.sqlite"
    with closing(sqlite3.connect(path)) as db:
        assert db.execute(f"PRAGMA journal_mode={journal}").fetchone()[0].upper() == journal
        db.execute("CREATE TABLE entry (who TEXT, number INTEGER, text TEXT, PRIMARY KEY (who, number))")
        db.execute("CREATE TABLE total (number INTEGER)")
        db.execute("INSERT INTO total VALUES (0)")
        db.commit()
    workers = [start_python(_WRITER, path, who) for who in ("one", "two", "three")]
    workers.append(start_python(_READER, path))
    for worker in workers:
        finish(worker)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT count(*) FROM entry").fetchone() == (3 * 36 * 5,)
        assert db.execute("SELECT number FROM total").fetchone() == (3 * 36 * 5,)
        db.execute("VACUUM")
        db.execute("DELETE FROM entry WHERE who = 'two'")
        db.commit()


def test_the_secondary_s_copy_of_a_closed_database_opens(shared_volume: Volume, place: Path) -> None:
    with closing(sqlite3.connect(place / "data.sqlite")) as db:
        db.execute("CREATE TABLE entry (text TEXT)")
        db.executemany("INSERT INTO entry VALUES (?)", [(str(number),) for number in range(1000)])
        db.commit()
    shared_volume.sync()
    copy = shared_volume.secondary / place.name / "data.sqlite"
    with closing(sqlite3.connect(f"file:{copy}?mode=ro&immutable=1", uri=True)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT count(*) FROM entry").fetchone() == (1000,)
