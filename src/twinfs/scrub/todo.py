"""What a run still has to read, and the hard links it has seen: on disk, so that memory stays flat and an
interrupted run can go on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from twinfs.scrub.objects import Objects
from twinfs.scrub.store import Store

MOST_TRIES: Final = 6
_READ_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class Item:
    """A file whose content is to be read on both legs. `size` is what it was when it was walked past."""

    id: int
    object: int
    path: bytes
    size: int
    tries: int


class Todo:
    """The table `todo`. `add`, `remove` and `put_back` belong into transactions of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._db = store.db

    def clear(self) -> None:
        self._db.execute("DELETE FROM todo")

    def add(self, identity: int, path: bytes, size: int, scrubbed_ns: int) -> None:
        self._db.execute(
            "INSERT INTO todo (object, path, size, scrubbed_ns) VALUES (?, ?, ?, ?)",
            (identity, path, size, scrubbed_ns),
        )

    def keep_oldest(self, percent: float) -> None:
        """Only those that were not scrubbed for the longest time, that share of the bytes; one at least."""
        with self._store.transaction() as db:
            db.execute(
                "DELETE FROM todo WHERE id IN (SELECT id FROM ("
                " SELECT id, sum(size) OVER (ORDER BY scrubbed_ns, id) - size AS before,"
                " row_number() OVER (ORDER BY scrubbed_ns, id) AS place,"
                " sum(size) OVER () AS total, count(*) OVER () AS files FROM todo)"
                " WHERE CASE WHEN total > 0 THEN before >= total * ? / 100.0"
                " ELSE place > files * ? / 100.0 END AND place > 1)",
                (percent, percent),
            )

    def totals(self) -> tuple[int, int]:
        """Files and bytes that are left."""
        files, size = self._db.execute("SELECT count(*), coalesce(sum(size), 0) FROM todo").fetchone()
        return files, size

    def items(self) -> Iterator[Item]:
        """In order, once each: what is put back meanwhile waits for the next time."""
        last = 0
        (end,) = self._db.execute("SELECT coalesce(max(id), 0) FROM todo").fetchone()
        while True:
            rows = self._db.execute(
                "SELECT id, object, path, size, tries FROM todo WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
                (last, end, _READ_AT_ONCE),
            ).fetchall()
            if not rows:
                return
            for row in rows:
                yield Item(*row)
            last = rows[-1][0]

    def remove(self, item: Item) -> None:
        self._db.execute("DELETE FROM todo WHERE id = ?", (item.id,))

    def put_back(self, item: Item, size: int) -> bool:
        """To the end: it was being written. False when that was so too often; it is removed then."""
        self.remove(item)
        if item.tries + 1 >= MOST_TRIES:
            return False
        self._db.execute(
            "INSERT INTO todo (object, path, size, scrubbed_ns, tries) VALUES (?, ?, ?, 0, ?)",
            (item.object, item.path, size, item.tries + 1),
        )
        return True


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A path where the legs seem to differ. `link_to`: another name of the same file, on one leg only."""

    path: bytes
    link_to: bytes | None = None
    tries: int = 0


class Suspects:
    """The table `suspect`: what somebody who can hold the volume has still to look at."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._db = store.db

    def clear(self) -> None:
        self._db.execute("DELETE FROM suspect")

    def add(self, suspicion: Suspicion) -> None:
        self._db.execute(
            "INSERT INTO suspect (path, link_to, tries) VALUES (?, ?, ?)"
            " ON CONFLICT (path) DO UPDATE SET link_to = coalesce(link_to, excluded.link_to)",
            (suspicion.path, suspicion.link_to, suspicion.tries),
        )

    def next(self) -> Suspicion | None:
        """The one that waits longest. It stays until it is removed."""
        row = self._db.execute(
            "SELECT path, link_to, tries FROM suspect ORDER BY tries, id LIMIT 1"
        ).fetchone()
        return None if row is None else Suspicion(*row)

    def count(self) -> int:
        (count,) = self._db.execute("SELECT count(*) FROM suspect").fetchone()
        return int(count)

    def remove(self, suspicion: Suspicion) -> None:
        self._db.execute("DELETE FROM suspect WHERE path = ?", (suspicion.path,))

    def put_back(self, suspicion: Suspicion) -> None:
        self._db.execute("UPDATE suspect SET tries = tries + 1 WHERE path = ?", (suspicion.path,))


@dataclass(frozen=True, slots=True)
class Seen:
    """`is_new`: no other name of this file was seen before. `conflict`: a name that is the same file on one
    leg, and another one on the other."""

    is_new: bool
    conflict: bytes | None = None


class Links:
    """Which names are one file, on either leg."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._db = store.db

    def clear(self) -> None:
        self._db.execute("DELETE FROM link")

    def see(
        self, path: bytes, row: int, ident: int, primary: os.stat_result, secondary: os.stat_result
    ) -> Seen:
        """A name of a file that has several, on one leg at least. `row` and `ident`: what becomes of it in
        the table `object`, later."""
        keys = _key(primary), _key(secondary)
        known = self._db.execute(
            "SELECT first, second, path FROM link WHERE first = ? OR second = ?", keys
        ).fetchall()
        self._db.execute(
            "INSERT INTO link (path, first, second, object, ident) VALUES (?, ?, ?, ?, ?)",
            (path, *keys, row, ident),
        )
        if any((first, second) == keys for first, second, _ in known):
            return Seen(is_new=False)
        return Seen(is_new=True, conflict=known[0][2] if known else None)

    def names(self, path: bytes) -> list[bytes]:
        """All names that are one file with `path` on either leg, itself among them, if it has others."""
        found = self._db.execute(
            "SELECT DISTINCT other.path FROM link own JOIN link other"
            " ON other.first = own.first OR other.second = own.second WHERE own.path = ?",
            (path,),
        )
        return [row[0] for row in found]

    def was_linked(self, path: bytes, other: bytes) -> bool | None:
        """Whether both were one file when they were last known good; None where that is not known."""
        idents = []
        for name in (path, other):
            row = Objects(self._store).at(name)
            if row is None or row.ident == 0:
                return None
            idents.append(row.ident)
        return idents[0] == idents[1]

    def settle(self, run: int) -> None:
        """At the end: what hard-linked files are now, except for those that are mismatches still."""
        with self._store.transaction() as db:
            db.execute(
                "UPDATE object SET ident = link.ident FROM link WHERE object.id = link.object"
                " AND link.path NOT IN (SELECT path FROM finding WHERE run = ? AND NOT repaired)",
                (run,),
            )


def _key(status: os.stat_result) -> str:
    return f"{status.st_dev}:{status.st_ino}"
