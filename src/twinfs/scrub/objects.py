"""What both legs were when they were last known good, object by object."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from twinfs.scrub.judge import Known
from twinfs.scrub.store import ROOT, Store
from twinfs.scrub.views import View

_COLUMNS = (
    "id, name, ident, mode, uid, gid, rdev, size, mtime_ns, xattrs, target,"
    " content, content_size, content_mtime_ns, scrubbed_ns, known_ns"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One object as it is known. `ident` is the primary's node number. `scrubbed_ns`: when its content was
    last read from both disks; `is_scrubbed`: that is the content which is known."""

    id: int
    name: bytes
    ident: int
    known: Known
    scrubbed_ns: int
    is_scrubbed: bool


def _row(values: tuple[Any, ...]) -> Row:
    identity, name, ident, *metadata, content, size, mtime_ns, scrubbed_ns, known_ns = values
    view = None if metadata[0] is None else View(*metadata)
    known = Known(view, content, size or 0, mtime_ns or 0)
    return Row(identity, name, ident, known, scrubbed_ns, is_scrubbed=0 < known_ns <= scrubbed_ns)


class Objects:
    """The table `object`. Callers put changes into transactions of the store."""

    def __init__(self, store: Store) -> None:
        self._db: sqlite3.Connection = store.db

    def children(self, parent: int) -> dict[bytes, Row]:
        """All that is known in a directory."""
        found = self._db.execute(f"SELECT {_COLUMNS} FROM object WHERE parent = ?", (parent,))
        return {row.name: row for row in map(_row, found)}

    def child(self, parent: int, name: bytes) -> Row | None:
        found = self._db.execute(
            f"SELECT {_COLUMNS} FROM object WHERE parent = ? AND name = ?", (parent, name)
        ).fetchone()
        return None if found is None else _row(found)

    def content_of(self, identity: int) -> Known | None:
        """What is known of the content of a row, None where nothing is."""
        found = self._db.execute(
            "SELECT content, content_size, content_mtime_ns FROM object WHERE id = ? AND content IS NOT NULL",
            (identity,),
        ).fetchone()
        return None if found is None else Known(None, *found)

    def at(self, path: bytes) -> Row | None:
        """The object known at a path."""
        row = self.child(0, b"")
        for name in path.split(b"/") if path else ():
            if row is None:
                return None
            row = self.child(row.id, name)
        return row

    def id_of(self, path: bytes) -> int:
        """The row of a path, made with nothing known where there is none."""
        identity = ROOT
        for name in path.split(b"/") if path else ():
            identity = self.make(identity, name)
        return identity

    def make(self, parent: int, name: bytes) -> int:
        found = self._db.execute(
            "SELECT id FROM object WHERE parent = ? AND name = ?", (parent, name)
        ).fetchone()
        if found is not None:
            return int(found[0])
        added = self._db.execute(
            "INSERT INTO object (parent, name, ident) VALUES (?, ?, 0)", (parent, name)
        ).lastrowid
        assert added is not None
        return added

    def know_metadata(self, identity: int, ident: int, view: View) -> None:
        """Both legs are this."""
        self._db.execute(
            "UPDATE object SET ident = ?, mode = ?, uid = ?, gid = ?, rdev = ?, size = ?, mtime_ns = ?,"
            " xattrs = ?, target = ? WHERE id = ?",
            (
                ident,
                view.mode,
                view.uid,
                view.gid,
                view.rdev,
                view.size,
                view.mtime_ns,
                view.xattrs,
                view.target,
                identity,
            ),
        )

    def know_content(
        self, identity: int, content: bytes, size: int, mtime_ns: int, *, begun_ns: int, is_scrubbed: bool
    ) -> None:
        """Both legs' bytes are this, unless the volume has changed them since `begun_ns`."""
        self._db.execute(
            "UPDATE object SET content = ?, content_size = ?, content_mtime_ns = ?, known_ns = ?,"
            " scrubbed_ns = CASE WHEN ? THEN ? ELSE scrubbed_ns END WHERE id = ? AND changed_ns < ?",
            (content, size, mtime_ns, begun_ns, is_scrubbed, begun_ns, identity, begun_ns),
        )

    def forget(self, identity: int) -> None:
        """The row, and with it (at the next scrub) what hangs below it."""
        self._db.execute("DELETE FROM object WHERE id = ? AND id != ?", (identity, ROOT))

    def forget_orphans(self) -> int:
        """Rows whose directory is known no more; returns how many."""
        total = 0
        while count := self._db.execute(
            "DELETE FROM object WHERE id IN (SELECT o.id FROM object o LEFT JOIN object p ON p.id = o.parent"
            " WHERE p.id IS NULL AND o.parent != 0 LIMIT 10000)"
        ).rowcount:
            total += count
        return total
