"""All that is known of the past: the changes on both legs, in order, and which of them concern a path."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from twinfs.errors import VersionError
from twinfs.journal.records import Rename, renamed
from twinfs.mirror.state import is_below
from twinfs.mirror.versions import segments
from twinfs.mirror.versions.records import NOTHING, Changed, Filled, Filling, Gone, Kept, Moved, Record

_BURST_NS: Final = 60 * 10**9
"""What was removed below a directory with pauses no longer than this went with it."""


@dataclass(frozen=True, slots=True)
class Past:
    """One change that can be undone, and where what it kept is: a leg and a segment there."""

    record: Record
    root_fd: int
    segment: bytes

    @property
    def time_ns(self) -> int:
        return 0 if isinstance(self.record, Filling | Filled) else self.record.time_ns


class History:
    """Both legs' changes. Roles change while the legs are equal: what one leg has goes on on the other."""

    def __init__(self, root_fds: Sequence[int]) -> None:
        """Reads all logs. OSError."""
        found = sorted(each for number, fd in enumerate(root_fds) for each in _in_order(number, fd))
        self.changes: list[Past] = []
        for _, number, _, segment in found:
            self.changes += [
                Past(record, root_fds[number], segment)
                for record in segments.read(root_fds[number], segment).records
                if not isinstance(record, Filling | Filled)
            ]
        self.since_ns = found[0][0] if found else None
        """Since when changes are known; None where none are."""
        if found and self.changes and segments.number_of(found[0][3]) == segments.FIRST:
            # A batch brings what happened before it began, and no older segment that knew more is gone.
            self.since_ns = min(found[0][0], self.changes[0].time_ns // 1000 * 1000)

    def newest_first(self, since_ns: int = 0) -> Iterator[Past]:
        """What was changed at that moment or later."""
        return (past for past in reversed(self.changes) if past.time_ns >= since_ns)

    def of(self, path: bytes) -> Iterator[tuple[bytes, Past]]:
        """What was removed or changed at and below the path, the newest first, with its path then; also from
        before it was moved there."""
        names = {path}
        for past in reversed(self.changes):
            record = past.record
            if isinstance(record, Moved):
                names |= {_moved_back(name, record) for name in names}
            elif isinstance(record, Gone | Changed) and any(is_below(record.path, name) for name in names):
                yield record.path, past

    def name_at(self, path: bytes, time_ns: int) -> bytes:
        """What is called `path` now was called that then."""
        for past in self.newest_first(time_ns):
            if isinstance(past.record, Moved):
                path = _moved_back(path, past.record)
        return path

    def last_moment(self, path: bytes) -> int:
        """Just before the path was last removed or changed; of a directory, before the removal of what was in
        it began. VersionError: there is nothing to go back to."""
        moment: int | None = None
        for past in reversed(self.changes):
            record = past.record
            if not isinstance(record, Gone | Changed) or not is_below(record.path, path):
                continue
            if moment is None:
                if record.path != path or not is_kept(record.kept):
                    continue
                if not stat.S_ISDIR(record.kept.mode):
                    return record.time_ns
            elif not isinstance(record, Gone) or moment - record.time_ns > _BURST_NS:
                break
            moment = record.time_ns
        if moment is None:
            raise VersionError(
                f"nothing of {os.fsdecode(path) or '/'} is known to have been removed or replaced as a whole;"
                " of a directory that is there, say as it was when: --at 'yesterday 18:00'"
            )
        return moment


def _in_order(leg: int, root_fd: int) -> Iterator[tuple[int, int, int, bytes]]:
    """A leg's segments to be sorted among the other's: by time, but those of one leg as they were begun, also
    when the clock was set back in between."""
    latest = 0
    for position, segment in enumerate(segments.names(root_fd)):
        latest = max(latest, segments.begun_ns(segment))
        yield latest, leg, position, segment


def is_kept(kept: Kept) -> bool:
    """Whether there was something to bring back: an object, a directory, or another name of the file."""
    return kept.number != NOTHING or stat.S_ISDIR(kept.mode) or kept.links > 1


def _moved_back(path: bytes, record: Moved) -> bytes:
    return renamed(path, Rename(record.path, record.source, record.is_exchange, 0))
