"""What is known of the volume's objects, and of its scrubs: one SQLite file in the volume's state directory.

No user's data hangs on it: without it, mismatches are found all the same, only which copy is right is not
known then. So it is not fsynced with every change, and a damaged one is set aside.

Objects are rows of (parent, name), not paths: renaming a directory changes one row.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from twinfs.errors import StateError
from twinfs.fsio.syscalls import file_system_magic

FILE_NAME: Final = "scrub.db"
ROOT: Final = 1
"""The row of the root directory."""

_PATIENCE_SECONDS: Final = 20.0
_VERSION: Final = 1
_DAMAGE: Final = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
_WRITING_IN_PLACE: Final = frozenset((0xEF53, 0x58465342, 0x01021994))  # ext2/3/4, xfs, tmpfs, statfs(2)

_SCHEMA: Final = """
CREATE TABLE object (
    id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name BLOB NOT NULL,
    ident INTEGER NOT NULL,      -- the primary's node number, 0 for one on another file system
    mode INTEGER, uid INTEGER, gid INTEGER, rdev INTEGER, size INTEGER, mtime_ns INTEGER,
    xattrs BLOB, target BLOB,    -- mode is NULL where no metadata is known
    content BLOB, content_size INTEGER, content_mtime_ns INTEGER,
    known_ns INTEGER NOT NULL DEFAULT 0,     -- when the content was known good
    scrubbed_ns INTEGER NOT NULL DEFAULT 0,  -- when both disks were last read
    changed_ns INTEGER NOT NULL DEFAULT 0,   -- when the volume last changed it
    UNIQUE (parent, name)
);
CREATE INDEX object_ident ON object (ident) WHERE ident != 0;
CREATE TABLE run (
    id INTEGER PRIMARY KEY, started REAL NOT NULL, finished REAL NOT NULL DEFAULT 0,
    plan TEXT NOT NULL, phase TEXT NOT NULL, position BLOB,
    files INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
    files_total INTEGER NOT NULL DEFAULT 0, bytes_total INTEGER NOT NULL DEFAULT 0,
    mismatches INTEGER NOT NULL DEFAULT 0, repaired INTEGER NOT NULL DEFAULT 0,
    busy INTEGER NOT NULL DEFAULT 0, seconds REAL NOT NULL DEFAULT 0,
    primary_read TEXT NOT NULL DEFAULT 'direct', secondary_read TEXT NOT NULL DEFAULT 'direct'
);
CREATE TABLE finding (
    run INTEGER NOT NULL, path BLOB NOT NULL, kind TEXT NOT NULL, bad_leg TEXT NOT NULL,
    repaired INTEGER NOT NULL, detail TEXT NOT NULL, UNIQUE (run, path)
);
-- Of the run that is going on: what is still to be read, what seems to differ, and hard links.
CREATE TABLE todo (
    id INTEGER PRIMARY KEY AUTOINCREMENT, object INTEGER NOT NULL, path BLOB NOT NULL, size INTEGER NOT NULL,
    scrubbed_ns INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE suspect (
    id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, link_to BLOB, tries INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE link (
    path BLOB NOT NULL, first TEXT NOT NULL, second TEXT NOT NULL,
    object INTEGER NOT NULL, ident INTEGER NOT NULL
);
CREATE INDEX link_first ON link (first);
CREATE INDEX link_second ON link (second);
"""


class Store:
    """A connection. Several processes may have one: every transaction is short."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.db = self._open()
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}") from error
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise StateError(f"{path}: {error}") from error
            # Begin anew, and keep the old one for whoever wants to know why.
            with contextlib.suppress(FileNotFoundError):
                path.replace(path.with_suffix(".damaged"))
            for left in ("-wal", "-shm", "-journal"):
                path.with_name(path.name + left).unlink(missing_ok=True)
            try:
                self.db = self._open()
            except sqlite3.Error as again:
                raise StateError(f"{path}: {again}") from again

    def _open(self) -> sqlite3.Connection:
        # Used by one thread at a time, not always the same.
        db = sqlite3.connect(self.path, _PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            db.execute(f"PRAGMA journal_mode = {'WAL' if _may_be_mapped(self.path.parent) else 'TRUNCATE'}")
            db.execute("PRAGMA synchronous = NORMAL")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version != _VERSION:
                self._create(db)
            db.execute("SELECT count(*) FROM run").fetchone()
        except BaseException:
            db.close()
            raise
        return db

    @staticmethod
    def _create(db: sqlite3.Connection) -> None:
        """A store of another version is begun anew: it only ever saves work."""
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version != _VERSION:
            for name in ("object", "run", "finding", "todo", "suspect", "link"):
                db.execute(f"DROP TABLE IF EXISTS {name}")
            for statement in _without_comments(_SCHEMA).split(";"):
                db.execute(statement)
            db.execute("INSERT INTO object (id, parent, name, ident) VALUES (?, 0, x'', 1)", (ROOT,))
            db.execute(f"PRAGMA user_version = {_VERSION}")
        db.execute("COMMIT")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing. Others wait meanwhile."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def close(self) -> None:
        self.db.close()


def _is_damage(error: sqlite3.Error) -> bool:
    """And not a disk that is full, or fails, or a store that somebody else has locked."""
    is_of_schema = isinstance(error, sqlite3.OperationalError) and "no such" in str(error)
    return is_of_schema or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def _may_be_mapped(directory: Path) -> bool:
    """Whether a full disk refuses at write(2), and not when a page is touched: that kills who touches it
    (SIGBUS), and SQLite's write-ahead log has an index that is mapped. SQLite writes one byte in each of its
    pages before; where blocks are smaller, or never written twice in one place, that takes no room for them.
    """
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return os.fstatvfs(fd).f_bsize >= mmap.PAGESIZE and file_system_magic(fd) in _WRITING_IN_PLACE
    finally:
        os.close(fd)


def _without_comments(text: str) -> str:
    return "\n".join(line.partition("--")[0] for line in text.splitlines())
