"""What a volume starts with: from the intent log that the last session left to a core that knows it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from operator import itemgetter
from typing import Final

from twinfs.journal.log import LogFile
from twinfs.journal.ranges import Ranges
from twinfs.journal.records import (
    WHOLE_FILE,
    Clock,
    Commit,
    Compare,
    Create,
    Record,
    Stale,
    Swapping,
    Touched,
    touched_by,
)
from twinfs.journal.replay import Recovered, follow, recover
from twinfs.mirror.core import Core
from twinfs.mirror.doubt import outcome
from twinfs.mirror.nodes import Node
from twinfs.mirror.plan import Change
from twinfs.mirror.stale import StaleMark
from twinfs.mirror.state import CLOCK_SLACK_NS

_CLOCK_SECONDS: Final = 1.0


def restore(
    core: Core,
    left: LogFile,
    *,
    lost_power: bool,
    excludes: str,
    used_since_ns: int,
    session: str,
    is_second_new: bool = False,
) -> list[str]:
    """Fill `core` with what is pending and begin its log anew. Returns what is worth telling.

    `used_since_ns` is when the primary's label last said "in use", `session` what it says of that use.
    `is_second_new`: what the secondary has was copied there from the primary.
    Before the new log is in place the old one is untouched: a kill here changes nothing.
    """
    recovered = recover(left)
    notes: list[str] = []
    compare: Compare | None = None
    has_old_numbers = left.header is not None and left.header.is_renumbered and not recovered.is_closed
    used_since_ns = min(used_since_ns, left.header.since_ns) if left.header else used_since_ns
    since_ns = max(1, used_since_ns - CLOCK_SLACK_NS)
    if not left.is_whole or left.header is None:
        notes.append("the intent log is missing or damaged: comparing everything")
        compare = Compare(b"", since_ns, since_ns, is_keeping=True)
        # What it still says may have been done, and done a second time it would undo what came after.
        recovered = Recovered(last_number=recovered.last_number)
    elif session and session not in (left.header.session, left.header.follows):
        notes.append("the legs were used since with another intent log: comparing everything")
        compare = Compare(b"", since_ns, since_ns, is_keeping=True)
        # What it says is pending was about other times: done now, it would undo what was done since.
        recovered = Recovered(last_number=recovered.last_number)
    elif has_old_numbers and (lost_power or _is_in_doubt(recovered)):
        notes.append("the legs had changed their roles: comparing everything")
        recovered = Recovered(last_number=recovered.last_number)
        since_ns = max(1, left.header.since_ns - CLOCK_SLACK_NS)
        compare = Compare(b"", since_ns, since_ns, is_keeping=not is_second_new)
    elif lost_power and not recovered.is_closed:
        notes.append("the machine went down while the volume was in use: comparing what changed since")
        compare = Compare(b"", max(1, left.header.since_ns - CLOCK_SLACK_NS))
    elif left.header.excludes != excludes:
        notes.append("what is excluded has changed: comparing everything")
        compare = Compare(b"", 0)
    if has_old_numbers:
        _forget_numbers(recovered)
    _restore_changes(core, recovered)
    if not _restore_stale(core, recovered, has_numbers=not has_old_numbers) and compare is None:
        notes.append("an object of the intent log cannot be found: comparing everything")
        compare = Compare(b"", 0, max(1, used_since_ns - CLOCK_SLACK_NS))
    _mark_new(core)
    # Numbered anew: their paths are those of now, which no pending rename changes any more.
    asked = [(record, recovered.since.get(number)) for number, record in recovered.compares.items()]
    for record, since in [*asked, *([(compare, None)] if compare else [])]:
        recovered.last_number += 1
        core.compares[recovered.last_number] = record
        core.compares_since[recovered.last_number] = time.time() if since is None else since
    since_ns = left.header.since_ns if left.header else used_since_ns
    core.log.start(records_of(core), recovered.last_number + 1, since_ns)
    core.is_durable = recovered.is_closed
    core.durable_ns = since_ns
    if not core.is_durable:
        # What the last session did there may be in the page cache only.
        core.on_secondary_now(b"")
    return notes


def _is_in_doubt(recovered: Recovered) -> bool:
    return any(ident is None for _, ident in recovered.changes.values())


def _forget_numbers(recovered: Recovered) -> None:
    """Of a session in which the legs changed their roles: they are those of the disk that was the primary
    before. Paths tell the objects all the same, whose contents then count as changed as a whole."""
    recovered.changes = {number: (change, -number) for number, (change, _) in recovered.changes.items()}
    for stale in recovered.stale.values():
        stale.marks = [(number, 0, end and WHOLE_FILE) for number, _, end in stale.marks]


def _restore_changes(core: Core, recovered: Recovered) -> None:
    now = time.time()
    for number, (change, ident) in recovered.changes.items():
        if ident is None:
            ident = outcome(core.primary_fd, change, core.nodes.ident_of)
            if ident is None:
                continue
            follow(recovered, change)
        core.pending.append(Change(number, change, ident, recovered.since.get(number, now)))
        core.names_number = number
        recovered.touched.update(touched_by(change))
    core.applier.swapping.update(recovered.swapping)
    # These names are those of now; the secondary gets there with the last of the pending changes.
    core.applier.touched_after = (core.names_number, frozenset(recovered.touched))


def _restore_stale(core: Core, recovered: Recovered, *, has_numbers: bool) -> bool:
    """False when one is not where the log says, or another one is, where the log's numbers tell."""
    are_all_found = True
    for ident, stale in recovered.stale.items():
        node, size = _find(core, stale.path, ident if has_numbers else None)
        if node is None:
            are_all_found = False
            continue
        mark = node.stale = StaleMark(max(number for number, _, _ in stale.marks), is_behind=True)
        mark.since = min(recovered.since.get(number, mark.since) for number, _, _ in stale.marks)
        mark.ranges = stale.ranges()
        mark.is_direct = mark.is_torn = bool(stale.direct)
        mark.end_bytes = size
        core.stale[node.ident] = node
        core.nodes.pin(node)
    return are_all_found


def _mark_new(core: Core) -> None:
    """What is about to be made on the secondary may have got its owner or ACL after it was announced."""
    for change in core.pending:
        if isinstance(change.names, Create):
            node, _ = _find(core, change.names.path, change.ino if change.ino >= 0 else None)
            if node is not None and node.stale is None:
                node.stale = StaleMark(change.number, is_behind=True)
                core.stale[node.ident] = node
                core.nodes.pin(node)


def _find(core: Core, path: bytes, ident: int | None) -> tuple[Node | None, int]:
    """The node at `path` and its size, if it is still that object; None: whatever it is."""
    node, size = core.nodes.root, 0
    for name in path.split(b"/") if path else ():
        try:
            status = os.stat(name, dir_fd=core.nodes.directory(node), follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None, 0
        node, size = core.nodes.know(node, name, status), status.st_size
    return (node, size) if ident in (None, node.ident) else (None, 0)


def records_of(core: Core) -> Iterator[tuple[int, Record]]:
    """The log that says what is pending now, and nothing else."""
    told = 0.0
    for since, number, record in _pending_of(core):
        if abs(since - told) >= _CLOCK_SECONDS:
            told = since
            yield 0, Clock(since)
        yield number, record
    for path in [*list(core.applier.touched), *core.applier.touched_after[1]]:
        yield core.log.last_number, Touched(path)


def _pending_of(core: Core) -> Iterator[tuple[float, int, Record]]:
    """(since when, number, record)"""
    now = time.time()
    for number, record in list(core.compares.items()):
        yield core.compares_since.get(number, now), number, record
    for number, ino in list(core.applier.swapping.items()):
        yield now, number, Swapping(ino)
    for change in list(core.pending):
        yield change.since, change.number, change.names
        yield change.since, change.number, Commit(change.ino)
    marks = [(node.stale.since, node, node.stale) for node in core.stale.values() if node.stale is not None]
    for since, node, mark in sorted(marks, key=itemgetter(0)):
        if node.is_named:
            for start, end in list(mark.ranges) or [(0, 0)]:
                recorded_end = WHOLE_FILE if end >= Ranges.OPEN_END else end
                stale = Stale(node.ident, node.path(), start, recorded_end, mark.is_direct)
                yield since, mark.number, stale
