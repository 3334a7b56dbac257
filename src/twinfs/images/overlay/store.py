"""An overlay's directory: its lock, the image it belongs to, and a database of what was changed.

    DIR/lock       held by whoever uses it
    DIR/changes    SQLite; every change of names or attributes is one transaction in it
    DIR/contents/  a file of bytes for each object that has some, named by the object's number

When the process dies, all that was answered is there: SQLite's write-ahead log and the files' bytes are in
the kernel's page cache. When the power fails, what was fsynced is there, and the database is sound (see
"PRAGMA synchronous" of SQLite); pieces of files that no fsync covered count as never written, for the
database may have kept that they were written, and the disk not what.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from twinfs.errors import ImageError
from twinfs.fsio.syscalls import syncfs

_FORMAT: Final = "1"
_PATIENCE_SECONDS: Final = 3.0
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_OPEN: Final = os.O_CLOEXEC | os.O_NOFOLLOW

_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE object (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    base BLOB UNIQUE, is_linked INTEGER NOT NULL,
    mode INTEGER NOT NULL, links INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,
    device INTEGER NOT NULL, size INTEGER NOT NULL, blocks INTEGER NOT NULL,
    atime NOT NULL, mtime NOT NULL, ctime NOT NULL, -- text where 64 bits are too few
    target BLOB NOT NULL, base_limit INTEGER NOT NULL, has_bytes INTEGER NOT NULL);
CREATE INDEX object_gone ON object (links) WHERE links = 0;
CREATE INDEX object_linked ON object (is_linked) WHERE is_linked = 1;
CREATE TABLE entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    parent INTEGER NOT NULL, name BLOB NOT NULL, object INTEGER, hides INTEGER NOT NULL,
    UNIQUE (parent, name));
CREATE INDEX entry_object ON entry (object);
CREATE TABLE xattr (object INTEGER, name BLOB, value BLOB NOT NULL, PRIMARY KEY (object, name)) WITHOUT ROWID;
CREATE TABLE piece (object INTEGER, number INTEGER, is_durable INTEGER NOT NULL,
    PRIMARY KEY (object, number)) WITHOUT ROWID;
"""


class Store:
    """An open overlay. Raises ImageError where it cannot be one, OSError where the disk beneath fails."""

    def __init__(self, path: str, *, may_create: bool = False, is_locked: bool = True) -> None:
        """Without `is_locked` it is for looking only, while somebody else may be changing it."""
        self.path = os.path.realpath(path)
        self._lock_fd = -1
        try:
            self._open(may_create=may_create, is_locked=is_locked)
        except OSError as error:
            raise ImageError(f"{path}: {error.strerror}") from None

    def _open(self, *, may_create: bool, is_locked: bool) -> None:
        if may_create:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
        self._dir_fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            is_new = self._is_new()
            if is_new and not may_create:
                raise ImageError(f"{self.path}: no overlay of an image")
            if is_locked:
                self._lock()
            if is_new:
                self._create()
            self._database = self._connect("changes")
            self._check_format()
            self.contents_fd = os.open(b"contents", os.O_RDONLY | os.O_DIRECTORY | _OPEN, dir_fd=self._dir_fd)
        except BaseException:
            self._close_descriptors()
            raise

    def _is_new(self) -> bool:
        names = set(os.listdir(self._dir_fd))
        if "changes" in names:
            return False
        if names - {"lock", "contents", "changes.new", "changes.new-journal"}:
            raise ImageError(f"{self.path}: neither empty nor the overlay of an image")
        return True

    def _lock(self) -> None:
        """With some patience: who has just been unmounted may still be writing the last of it."""
        self._lock_fd = os.open(b"lock", os.O_RDWR | os.O_CREAT | _OPEN, 0o600, dir_fd=self._dir_fd)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ImageError(
                        f"{self.path} is in use: an image is mounted with it\n"
                        "  unmount that first, see twinfs umount"
                    ) from None
            time.sleep(0.05)

    def _connect(self, name: str) -> sqlite3.Connection:
        found = sqlite3.connect(os.path.join(self.path, name), isolation_level=None, timeout=10)
        return found

    def _create(self) -> None:
        """Under another name first, so that what is there is whole."""
        for name in ("changes.new", "changes.new-journal"):
            if name in os.listdir(self._dir_fd):
                os.unlink(name, dir_fd=self._dir_fd)
        if "contents" not in os.listdir(self._dir_fd):
            os.mkdir(b"contents", 0o700, dir_fd=self._dir_fd)
        made = self._connect("changes.new")
        made.executescript(f"BEGIN; {_SCHEMA} INSERT INTO meta VALUES ('format', '{_FORMAT}'); COMMIT;")
        made.close()
        # What it was opened with a passphrase for is nobody else's business.
        os.chmod(b"changes.new", 0o600, dir_fd=self._dir_fd)
        os.rename(b"changes.new", b"changes", src_dir_fd=self._dir_fd, dst_dir_fd=self._dir_fd)
        os.fsync(self._dir_fd)

    def _check_format(self) -> None:
        try:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            found = self.meta("format")
        except (sqlite3.Error, OSError) as error:
            self._database.close()
            raise ImageError(f"{self.path}: its record of changes cannot be read: {error}") from None
        if found != _FORMAT:
            self._database.close()
            raise ImageError(f"{self.path}: made by another version of twinfs (format {found})")

    # What it belongs to

    def meta(self, key: str) -> str:
        row = self.one("SELECT value FROM meta WHERE key = ?", key)
        return "" if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        self.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, value)

    def check_image(self, image: str, fingerprint: str) -> None:
        """Raises ImageError when it is another image's."""
        known = self.meta("fingerprint")
        if known and known != fingerprint:
            raise ImageError(
                f"{self.path} holds changes to another image, or {image} was written to since\n"
                f"  it belongs to {self.meta('image')}, as that was when it was mounted first; a copy does\n"
                "  as well if it has the same time of last change: cp --preserve=timestamps"
            )

    def begin_use(self, image: str, fingerprint: str) -> bool:
        """Raises ImageError when it is another image's. Whether the power failed during the last use."""
        self.check_image(image, fingerprint)
        boot = _BOOT_ID.read_text().strip()
        has_lost_power = self.meta("used_in") not in ("", boot)
        with self.transaction():
            if has_lost_power:
                self.run("DELETE FROM piece WHERE is_durable = 0")
            self.set_meta("image", image)
            self.set_meta("fingerprint", fingerprint)
            self.set_meta("used_in", boot)
        return has_lost_power

    def end_use(self) -> None:
        """All of it is on the disk now, or an OSError says otherwise."""
        syncfs(self._dir_fd)
        with self.transaction():
            self.run("UPDATE piece SET is_durable = 1 WHERE is_durable = 0")
            self.set_meta("used_in", "")
        self.make_durable()

    # Transactions

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing. Nothing may be awaited within."""
        self.run("BEGIN IMMEDIATE")
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything that is read within is of one moment; whoever writes is not held up."""
        self.run("BEGIN")
        try:
            yield
        finally:
            self._database.execute("ROLLBACK")

    def run(self, statement: str, *values: Any) -> int:  # noqa: ANN401  what SQLite holds
        """The number of the row that was made."""
        with _as_os_error():
            return self._database.execute(statement, values).lastrowid or 0

    def run_many(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        with _as_os_error():
            self._database.executemany(statement, rows)

    def one(self, statement: str, *values: Any) -> tuple[Any, ...] | None:  # noqa: ANN401
        with _as_os_error():
            found: tuple[Any, ...] | None = self._database.execute(statement, values).fetchone()
            return found

    def all(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401
        with _as_os_error():
            return self._database.execute(statement, values).fetchall()

    def make_durable(self) -> None:
        """All transactions up to now, in the page cache or not: an empty one that SQLite waits for."""
        with _as_os_error():
            self._database.execute("PRAGMA synchronous = FULL")
            try:
                self.set_meta("synced", "")
            finally:
                self._database.execute("PRAGMA synchronous = NORMAL")

    def close(self) -> None:
        """The last one to close writes the log into the database, durably."""
        self._database.close()
        os.close(self.contents_fd)
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
        os.close(self._dir_fd)


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        is_full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
        code = errno.ENOSPC if is_full else errno.EIO
        raise OSError(code, f"the overlay's record of changes: {error}") from error
