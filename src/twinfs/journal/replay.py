"""From a log as it was left to what is pending."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from twinfs.journal.ranges import Ranges
from twinfs.journal.records import (
    WHOLE_FILE,
    Abort,
    Applied,
    Cleared,
    Clock,
    Closed,
    Commit,
    Compare,
    Compared,
    Exclude,
    NameChange,
    Record,
    Remove,
    Rename,
    Stale,
    Swapping,
    Touched,
    renamed,
    touched_by,
)


@dataclass(slots=True)
class StaleObject:
    """An object that may differ between the legs, under its present path on the primary."""

    path: bytes
    marks: list[tuple[int, int, int]] = field(default_factory=list)
    """(record number, start, end) of each mark; an empty range is a mark of the metadata alone."""
    direct: set[int] = field(default_factory=set)
    """Those under which the secondary was written to as well."""

    def ranges(self) -> Ranges:
        found = Ranges()
        for _, start, end in self.marks:
            if start != end:
                found.add(start, Ranges.OPEN_END if end == WHOLE_FILE else end)
        return found


@dataclass(slots=True)
class Recovered:
    """What a log says is pending.

    `changes` are in order, with the inode number, or None for one that the primary may or may not have
    done: its caller was never answered.
    """

    changes: dict[int, tuple[NameChange, int | None]] = field(default_factory=dict)
    stale: dict[int, StaleObject] = field(default_factory=dict)
    compares: dict[int, Compare] = field(default_factory=dict)
    touched: set[bytes] = field(default_factory=set)
    """Paths whose times the secondary may lack, also of changes it has applied."""
    swapping: dict[int, int] = field(default_factory=dict)
    since: dict[int, float] = field(default_factory=dict)
    """When what is pending was recorded, by number, in seconds since the epoch; as far as the log says."""
    last_number: int = 0
    is_closed: bool = False


def recover(records: Iterable[tuple[int, Record]]) -> Recovered:
    """Read a log's records in order."""
    found = Recovered()
    announced: dict[int, NameChange] = {}
    now: float | None = None
    for number, record in records:
        found.last_number = max(found.last_number, number)
        found.is_closed = isinstance(record, Closed)
        if isinstance(record, Clock):
            now = record.at
        elif now is not None and isinstance(record, NameChange | Stale | Compare):
            found.since.setdefault(number, now)
        if isinstance(record, NameChange):
            announced[number] = record
        elif isinstance(record, Commit | Abort | Applied):
            _end_change(found, announced, number, record)
        else:
            _read_other(found, number, record)
    for number, change in announced.items():
        found.changes[number] = (change, None)
    found.changes = dict(sorted(found.changes.items()))
    pending = found.changes.keys() | found.compares.keys()
    pending.update(number for stale in found.stale.values() for number, _, _ in stale.marks)
    found.since = {number: then for number, then in found.since.items() if number in pending}
    return found


def _end_change(
    found: Recovered, announced: dict[int, NameChange], number: int, record: Commit | Abort | Applied
) -> None:
    if isinstance(record, Applied):
        for applied in [known for known in found.changes if known <= number]:
            del found.changes[applied]
        for applied in [known for known in announced if known <= number]:
            del announced[applied]
    elif (change := announced.pop(number, None)) is not None and isinstance(record, Commit):
        found.changes[number] = (change, record.ino)
        follow(found, change)
        found.touched.update(touched_by(change))


def _read_other(found: Recovered, number: int, record: Record) -> None:
    match record:
        case Stale():
            _mark(found, number, record)
        case Cleared(ino):
            _clear(found, ino, number)
        case Compare():
            found.compares[number] = record
        case Compared():
            found.compares.pop(number, None)
        case Swapping(ino):
            found.swapping[number] = ino
        case Touched(path):
            found.touched.add(path)
        case _:
            pass


def _mark(found: Recovered, number: int, record: Stale) -> None:
    known = found.stale.setdefault(record.ino, StaleObject(record.path))
    known.path = record.path
    known.marks.append((number, record.start, record.end))
    if record.is_direct:
        known.direct.add(number)


def _clear(found: Recovered, ino: int, number: int) -> None:
    """Marks made after the copy began, with a higher number, are still pending."""
    if (known := found.stale.get(ino)) is not None:
        known.marks = [mark for mark in known.marks if mark[0] > number]
        known.direct = {mark for mark in known.direct if mark > number}
        if not known.marks:
            del found.stale[ino]


def follow(found: Recovered, change: NameChange) -> None:
    """Keep the paths of what is stale or to be compared up to date with a later change of names."""
    match change:
        case Rename():
            found.touched = {renamed(path, change) for path in found.touched}
            for ino, stale in list(found.stale.items()):
                if stale.path == change.path and not change.is_exchange and ino != change.ino:
                    del found.stale[ino]
                else:
                    stale.path = renamed(stale.path, change)
            for number, compare in found.compares.items():
                found.compares[number] = msgspec.structs.replace(compare, path=renamed(compare.path, change))
        case Remove(path) | Exclude(path):
            below = path + b"/"
            for ino, stale in list(found.stale.items()):
                if stale.path == path or stale.path.startswith(below):
                    del found.stale[ino]
        case _:
            pass
