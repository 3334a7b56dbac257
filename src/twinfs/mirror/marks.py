"""What of which object may differ between the legs: marked before the primary changes, cleared when both
are known equal."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

import trio

from twinfs.journal.ranges import Ranges, rounded
from twinfs.journal.records import (
    WHOLE_FILE,
    Cleared,
    Stale,
)
from twinfs.mirror.comparing import Comparing
from twinfs.mirror.nodes import Node
from twinfs.mirror.stale import StaleMark

_LOOKS: Final = 5


class Marks(Comparing):
    """Content and metadata; names are in core.py."""

    def mark(
        self, node: Node, start: int, end: int, *, is_done: bool = False, is_direct: bool = False
    ) -> StaleMark | None:
        """Before the primary changes: [start, end) of the content (none if empty) and the metadata may
        differ from now on. None for an object that is not mirrored or has no name any more.

        `is_done`: the primary has changed already, so a full log must not stop it. `is_direct`: unless the
        secondary is behind, its content is written to, too.
        """
        if not self.is_counting:
            return None
        if not node.is_named:
            if not node.is_removed:
                # It lives on under a name that is not known here; only looking at everything finds it.
                self.compare_later(b"")
            return None
        path = self.mirrored_path(node)
        if path is None:
            return None
        content_end = end if start < end < Ranges.OPEN_END else 0
        is_suspect = self.is_suspect(path)
        if is_suspect:
            # A partial copy would make a file look equal that was never compared.
            start, end = 0, Ranges.OPEN_END
        elif start != end:
            start, end = rounded(start, min(end, Ranges.OPEN_END))
        mark = node.stale
        is_behind = is_suspect or not self.is_mirroring_now or node.ident in self.copying
        if mark is not None:
            mark.touch(content_end, is_behind=is_behind)
            is_behind = mark.is_behind
        # Only versions ask what the secondary has in between.
        is_direct = is_direct and not is_behind and self.window is not None
        if mark is not None and mark.covers(start, end) and (mark.is_direct or not is_direct):
            return mark
        self.is_durable = False
        number = self.log.next_number()
        recorded_end = WHOLE_FILE if end >= Ranges.OPEN_END else end
        record = self.log.owe if is_done else self.log.append
        record(number, Stale(node.ident, path, start, recorded_end, is_direct))
        if mark is None:
            mark = node.stale = StaleMark(number, is_behind=is_behind)
            self.stale[node.ident] = node
            self.nodes.pin(node)
        mark.number = number
        mark.is_direct = mark.is_direct or is_direct
        mark.end_bytes = max(mark.end_bytes, content_end)
        if start != end:
            mark.ranges.add(start, end)
        return mark

    def mirrored_path(self, node: Node) -> bytes | None:
        """The node's path, or that of another of its names, that is not excluded."""
        if not node.is_named:
            return None
        path = node.path()
        if not self.excludes or not self.is_excluded(path, is_directory=node.is_directory):
            return path
        if node.is_directory:
            return None
        for parent, name in self.nodes.names(node):
            path = parent.child_path(name)
            if not self.is_excluded(path, is_directory=False):
                return path
        if self.nodes.has_unknown_names(node):
            self.compare_later(b"")
        return None

    def unmark(self, node: Node) -> None:
        """The object needs no copying any more; the log is the caller's business."""
        if node.stale is not None:
            node.stale = None
            del self.stale[node.ident]
            self.nodes.unpin(node)

    def name_goes(self, node: Node | None, parent: Node, name: bytes, status: os.stat_result) -> None:
        """Before a name is removed or replaced: what is stale must stay reachable by another."""
        if node is None:
            return
        if node.ident in self.copying and status.st_nlink > 1:
            # The mark that is being worked off names the name that goes.
            self.mark(node, 0, Ranges.OPEN_END)
        if node.stale is None:
            return
        others = [known for known in self.nodes.names(node) if known != (parent, name)]
        if others:
            self.remember_path(node, others[0][0].child_path(others[0][1]))
        elif status.st_nlink > 1:
            # Its other names are not known here: only looking at everything finds them.
            self.compare_later(b"")

    def is_torn(self, node: Node | None) -> bool:
        """Whether what the secondary has of the object was never it."""
        return node is not None and node.stale is not None and node.stale.is_torn

    def remember_path(self, node: Node, path: bytes) -> None:
        """Log a stale object's marks again under another of its names."""
        if (mark := node.stale) is None:
            return
        for start, end in list(mark.ranges) or [(0, 0)]:
            recorded_end = WHOLE_FILE if end >= Ranges.OPEN_END else end
            self.log.append(mark.number, Stale(node.ident, path, start, recorded_end, mark.is_direct))

    def restore(self, node: Node, taken: StaleMark) -> None:
        """A copy failed: what it took is pending again, with what was marked since."""
        mark = node.stale
        if not node.is_named:
            self.log.append(taken.number, Cleared(node.ident))
            return
        if mark is None:
            node.stale = taken
            self.stale[node.ident] = node
            self.nodes.pin(node)
        else:
            for start, end in taken.ranges:
                mark.ranges.add(start, end)
            mark.since = min(mark.since, taken.since)
            mark.first_number = min(mark.first_number, taken.first_number)
            mark.end_bytes = max(mark.end_bytes, taken.end_bytes)
            mark.is_behind = True
            mark.is_unanswered = mark.is_unanswered and taken.is_unanswered
            mark.is_torn = mark.is_torn or taken.is_torn
            mark.is_direct = mark.is_direct or taken.is_direct
            # Many ranges become fewer, larger ones: what they cover now must be in the log, too.
            self.remember_path(node, node.path())

    def clear(self, node: Node) -> None:
        """The object is gone from both legs, or equal on both."""
        if (mark := node.stale) is not None:
            self.unmark(node)
            self.log.owe(mark.number, Cleared(node.ident))

    async def let_writes_land(self, node: Node) -> None:
        """Until the next await, no write to the node is on its way: those there are have landed, new ones
        wait. A write puts the mtime back to what it was before, which must not undo what is set meanwhile."""
        while (hold := self.holds.get(node.ident)) is not None:
            await hold.wait()
        if not _is_in_flight(node):
            return
        landed = self.holds[node.ident] = trio.Event()
        try:
            while _is_in_flight(node):  # noqa: ASYNC110 - rare, and milliseconds
                await trio.sleep(0.001)
        finally:
            if self.holds.get(node.ident) is landed:
                del self.holds[node.ident]
            landed.set()

    def write_ended(self, mark: StaleMark) -> None:
        """A write that counted as in flight is over. In this order: see `look_between_writes`."""
        self.writes_ended += 1
        mark.in_flight -= 1

    def look_between_writes(self, fd: int, ident: int = 0) -> os.stat_result | None:
        """In the lane: the status of an object of the primary. None while it is written to, because a write
        moves the mtime for a moment and puts it back; and where it is not the node `ident`, if not 0."""
        for _ in range(_LOOKS):
            ended = self.writes_ended
            status = os.fstat(fd)
            found = self.nodes.ident_of(status)
            node = self.nodes.get(found)
            if ident not in (0, found) or (node is not None and _is_in_flight(node)):
                return None
            if ended == self.writes_ended:
                return status
        return None

    def is_node(self, node: Node) -> Callable[[os.stat_result], bool]:
        """Whether a status is the node's: a path may lead to another object by the time it is opened."""
        return lambda status: self.nodes.ident_of(status) == node.ident


def _is_in_flight(node: Node) -> bool:
    return node.stale is not None and node.stale.in_flight > 0
