"""What the volume itself changes is no rot: the store hears of it before the intent log forgets it.

Everything that happens to a volume is in its intent log until the log begins anew. So there is nothing to
write while people work: what passed through the log is gathered, and handed to the store when the log is
about to forget (and now and then before). After a kill the log is still there, and is read again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from twinfs.journal.log import LogFile
from twinfs.journal.records import Abort, Cleared, Commit, Exclude, Record, Remove, Rename, Stale
from twinfs.scrub.objects import Objects
from twinfs.scrub.store import FILE_NAME, ROOT, Store

_FOREIGN_BIT: Final = 1 << 62  # mirror/nodes.py: numbers of one session only

Change: TypeAlias = Stale | Remove | Rename | Exclude


class Changes:
    """Gathers what the log is told; `flush` hands it to the store, where a scrub has ever made one."""

    def __init__(self, directory: Path, is_marked: Callable[[int], bool]) -> None:
        """`is_marked`: whether an object has a mark still; it covers writes that the log is not told of."""
        self._path = directory / FILE_NAME
        self._is_marked = is_marked
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._changes: list[Change] = []
        self._marked: set[int] = set()
        self._announced: dict[int, Remove | Rename | Exclude] = {}
        self._paths: dict[int, bytes] = {}
        self.on_cleared: Callable[[int, bytes], None] = lambda ident, path: None
        """Told which object both legs have again, and where it was when it was last marked."""

    def note(self, number: int, record: Record) -> None:
        """A record was written: called from any thread, with the log's lock held."""
        match record:
            case Stale():
                with self._lock:
                    self._paths[record.ino] = record.path
                    if _key(record) not in self._marked:
                        self._marked.add(_key(record))
                        self._changes.append(record)
            case Cleared(ident):
                if (path := self._paths.pop(ident, None)) is not None:
                    self.on_cleared(ident, path)
            case Remove() | Rename() | Exclude():
                self._announced[number] = record
            case Abort():
                self._announced.pop(number, None)
            case Commit():
                if (change := self._announced.pop(number, None)) is not None:
                    with self._lock:
                        self._changes.append(change)
            case _:
                pass

    def has_changed(self, ident: int) -> bool:
        """Whether the store has yet to hear of a change of the object."""
        with self._lock:
            return ident in self._marked or -ident in self._marked

    def flush(self) -> None:
        """Tell the store. Safe to call at any time, from any thread."""
        with self._flushing:
            with self._lock:
                changes = list(self._changes)
            if changes and self._path.exists():
                store = Store(self._path)
                try:
                    forget(store, changes)
                finally:
                    store.close()
            kept = [change for change in changes if isinstance(change, Stale) and self._is_marked(change.ino)]
            with self._lock:
                self._changes = [*kept, *self._changes[len(changes) :]]
                self._marked = {_key(change) for change in self._changes if isinstance(change, Stale)}


def _key(stale: Stale) -> int:
    return stale.ino if stale.start != stale.end else -stale.ino


def forget_what_log_names(directory: Path, volume_id: str) -> None:
    """Before a volume starts: what the last session's log still tells may never have reached the store."""
    path = directory / FILE_NAME
    if not path.exists():
        return
    changes: list[Change] = []
    announced: dict[int, list[Change]] = {}
    log = LogFile(directory, volume_id)
    for number, record in log:
        if isinstance(record, Stale):
            changes.append(record)
        elif isinstance(record, Remove | Exclude):
            announced[number] = [record]
        elif isinstance(record, Rename):
            # Perhaps told already, and then done twice: forgetting is right both times.
            announced[number] = [Exclude(record.source), Exclude(record.path)]
        elif isinstance(record, Abort):
            announced.pop(number, None)
    for known in announced.values():
        changes += known
    if not log.is_whole:
        # What it would have told is lost: nothing is known for certain.
        changes = [Exclude(b"")]
    if changes:
        store = Store(path)
        try:
            forget(store, changes)
        finally:
            store.close()


_AT_ONCE: Final = 500


def forget(store: Store, changes: list[Change]) -> None:
    """In short transactions: a scrub may be writing, too."""
    objects = Objects(store)
    for start in range(0, len(changes), _AT_ONCE):
        with store.transaction():
            now_ns = time.time_ns()
            for change in changes[start : start + _AT_ONCE]:
                _forget_one(store, objects, change, now_ns)


def _forget_one(store: Store, objects: Objects, change: Change, now_ns: int) -> None:
    match change:
        case Stale(ino, path, start, end):
            _mark(store, objects, ino, path, now_ns, is_content=start != end)
        case Exclude(b""):
            store.db.execute("UPDATE object SET mode = NULL, content = NULL, changed_ns = ?", (now_ns,))
        case Remove(path) | Exclude(path):
            if (row := objects.at(path)) is not None:
                objects.forget(row.id)
        case Rename():
            _rename(store, objects, change)


def _mark(store: Store, objects: Objects, ino: int, path: bytes, now_ns: int, *, is_content: bool) -> None:
    set_clause = "mode = NULL, changed_ns = ?" + (", content = NULL" if is_content else "")
    if ino < _FOREIGN_BIT:
        store.db.execute(f"UPDATE object SET {set_clause} WHERE ident = ?", (now_ns, ino))
    if (row := objects.at(path)) is not None:
        store.db.execute(f"UPDATE object SET {set_clause} WHERE id = ?", (now_ns, row.id))


def _rename(store: Store, objects: Objects, change: Rename) -> None:
    moved, replaced = objects.at(change.source), objects.at(change.path)
    if replaced is not None and (moved is None or not change.is_exchange):
        objects.forget(replaced.id)
        replaced = None
    if moved is None:
        return
    parent, _, name = change.path.rpartition(b"/")
    old_parent, _, old_name = change.source.rpartition(b"/")
    move = "UPDATE object SET parent = ?, name = ? WHERE id = ?"
    if replaced is not None:
        # Out of the way first: (parent, name) is unique.
        store.db.execute(move, (-ROOT, b"/%d" % replaced.id, replaced.id))
    store.db.execute(move, (objects.id_of(parent), name, moved.id))
    if replaced is not None:
        store.db.execute(move, (objects.id_of(old_parent), old_name, replaced.id))
