"""What of an object may differ between the legs."""

from __future__ import annotations

import time

from twinfs.journal.ranges import Ranges


class StaleMark:
    """Marked in the intent log before the primary changes; cleared when the secondary is known equal.

    `is_behind`: the secondary was not, or not successfully, written; it must be copied. When False (sync
    mode) every answered write reached both legs, and the mark covers what is in flight. `is_ahead`: it is
    copied only because the primary refused a write that the secondary may have done. `is_torn`: the secondary
    may have some writes and lack others, so what it has was never the file. `is_direct`: the log says that
    callers write to the secondary, too, so after a kill it is torn. `in_flight` counts the callers that are
    at the secondary, `waiting` those that will be when a comparison is over. `is_unanswered`: all that it
    covers is one change that is on its way to the primary, or was refused there. `times_ns`: the (atime,
    mtime) that the primary got last, as far as they were set alone.
    """

    __slots__ = (
        "end_bytes",
        "first_number",
        "in_flight",
        "is_ahead",
        "is_behind",
        "is_direct",
        "is_torn",
        "is_touched",
        "is_unanswered",
        "metadata",
        "number",
        "ranges",
        "since",
        "times_ns",
        "waiting",
    )

    def __init__(self, number: int, *, is_behind: bool) -> None:
        self.number = self.first_number = number
        self.since = time.time()
        self.metadata = False
        self.ranges = Ranges()
        self.end_bytes = 0
        self.is_behind = is_behind
        self.is_ahead = False
        self.is_direct = False
        self.is_torn = False
        self.is_touched = True
        self.is_unanswered = False
        self.in_flight = self.waiting = 0
        self.times_ns = (0, 0)

    def touch(self, end_bytes: int, *, is_behind: bool) -> None:
        """A change is about to be made that the mark may cover already; `end_bytes` is where it ends."""
        self.is_behind = self.is_behind or is_behind
        self.is_ahead = self.is_ahead and not is_behind
        self.is_touched = True
        self.is_unanswered = False
        self.end_bytes = max(self.end_bytes, end_bytes)

    def answered(self) -> None:
        """The primary has done a change that it covers."""
        self.is_unanswered = False
        # The secondary did not get this one, so it is not only ahead any more.
        self.is_ahead = self.is_ahead and not self.is_behind

    def covers(self, start: int, end: int) -> bool:
        return start == end or self.ranges.covers(start, end)
