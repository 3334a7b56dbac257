"""What the write path knows: the legs, the nodes, the intent log, and what is pending."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from twinfs.journal.log import IntentLog
from twinfs.journal.records import (
    Compare,
)
from twinfs.mirror.applier import Applier
from twinfs.mirror.attachment import Attachment
from twinfs.mirror.brake import Brake
from twinfs.mirror.exclude import Excludes
from twinfs.mirror.lane import Lane
from twinfs.mirror.nodes import Node, NodeTable
from twinfs.mirror.plan import Change
from twinfs.mirror.versions.keeper import Keeper
from twinfs.mirror.versions.window import Window
from twinfs.model import Mode

CLOCK_SLACK_NS: Final = 5_000_000_000


@dataclass(frozen=True, slots=True)
class Mended:
    """A name of the primary behind which a scrub put another object, or other metadata, than the kernel
    knows. `ident` is the number of what stood there, 0 where nobody knew it."""

    parent: int
    name: bytes
    ident: int


class State:
    """One volume's, shared by all that works on it. The lane's thread reads it, too."""

    def __init__(
        self, primary_fd: int, secondary_fd: int, log: IntentLog, excludes: Excludes, mode: Mode
    ) -> None:
        self.primary_fd = primary_fd
        self.log = log
        self.excludes = excludes
        self.mode = mode
        self.nodes = NodeTable(primary_fd)
        self.attachment = Attachment(
            secondary_fd, 0 if secondary_fd < 0 else os.fstat(secondary_fd).st_dev, log
        )
        self.applier.is_suspect, self.applier.is_kept = self.is_suspect, self.is_kept
        self.given_up: list[Attachment] = []
        """Attachments of a disk that did not answer; calls there may still come back."""
        self.pending: deque[Change] = deque()
        self.compares: dict[int, Compare] = {}
        self.compares_since: dict[int, float] = {}
        """When each of `compares` was asked for, or what it stands for was changed."""
        self.comparing = 0
        self.doubts = 0
        """Grows when a comparison is asked for or ends, or a repair does: files of the secondary that are
        open may have been replaced there."""
        self.on_moved: Callable[[bytes], None] = lambda path: None
        """Told by the lane of what was renamed to below the path that is being compared."""
        self.stale: dict[int, Node] = {}
        self.copying: set[int] = set()
        self.writes_ended = 0
        self.names_number = 0
        self._is_naming = False
        self.is_durable = False
        self.durable_ns = time.time_ns()
        self.holds: dict[int, trio.Event] = {}
        self.is_secondary_up = True
        self.sleeps = False
        self.window: Window | None = None
        self.versions_bytes = 0
        """What versions take on the secondary: room that they give up when it is needed."""
        self.second_space: os.statvfs_result | None = None
        """The secondary's, when it was looked at last."""
        self.brake = Brake()
        self.wake: Callable[[], None] = lambda: None
        self.is_counting = True
        """False while the secondary is away and everything will be compared: then no change is noted."""
        self._asked: set[int] = set()
        self._unproven: dict[bytes, None] = {}
        self._proving: list[dict[bytes, None]] = []
        self.on_secondary_error: Callable[[OSError], None] = lambda error: None
        self.on_primary_mended: Callable[[Sequence[Mended]], None] = lambda mended: None

    @property
    def applier(self) -> Applier:
        return self.attachment.applier

    def keep_versions(self, window: Window | None) -> None:
        """From now on, on whatever disk is the secondary. Before anything is applied."""
        self.window = window
        self.applier.keeper = Keeper.on(self.applier.root_fd, window)

    @property
    def lane(self) -> Lane:
        return self.attachment.lane

    @property
    def is_mirroring_now(self) -> bool:
        """Whether a caller waits for the secondary."""
        return self.mode is Mode.SYNC and self.is_secondary_up and not self.is_held

    @property
    def is_held(self) -> bool:
        """Whether the brake holds: what is pending waits for somebody to allow its deletions."""
        return self.brake.holds(self.pending)

    @property
    def is_secondary_asleep(self) -> bool:
        """Whether nothing but a batch, a scrub or a command may touch the secondary's disk."""
        return self.sleeps and self.mode is Mode.BATCHED

    @property
    def keeps_excluded(self) -> bool:
        """Whether what is excluded may be on the secondary only, because it was the primary once."""
        return self.applier.keeps_excluded

    @keeps_excluded.setter
    def keeps_excluded(self, value: bool) -> None:
        self.applier.keeps_excluded = value

    def is_suspect(self, path: bytes) -> bool:
        """Whether a comparison that covers the path is pending: nothing is known of the secondary there."""
        return bool(self.compares) and any(
            is_below(path, known.path) for known in list(self.compares.values())
        )

    def is_kept(self, path: bytes) -> bool:
        """Whether a comparison that covers the path is pending, and keeps what differs."""
        return bool(self.compares) and any(
            known.is_keeping and is_below(path, known.path) for known in list(self.compares.values())
        )

    def is_excluded(self, path: bytes, *, is_directory: bool) -> bool:
        return self.excludes.matches(path, is_directory=is_directory)

    @property
    def is_behind(self) -> bool:
        """Whether anything waits for a drain."""
        return bool(
            self.pending
            or self.compares
            or any((mark := node.stale) is not None and mark.is_behind for node in self.stale.values())
        )

    def pending_since(self) -> float | None:
        """Of the oldest change that the secondary lacks, in seconds since the epoch."""
        found = [change.since for change in list(self.pending)[:1]]
        found += [self.compares_since.get(number, time.time()) for number in list(self.compares)]
        marks = (node.stale for node in list(self.stale.values()))
        found += [mark.since for mark in marks if mark is not None and mark.is_behind]
        return min(found, default=None)

    def is_done_up_to(self, number: int) -> bool:
        """Whether nothing is pending that was recorded by then."""
        return not (
            self.copying
            or any(change.number <= number for change in list(self.pending))
            or any(known <= number for known in list(self.compares))
            or any(
                (mark := node.stale) is not None and mark.is_behind and mark.first_number <= number
                for node in self.stale.values()
            )
        )

    def is_settled(self) -> bool:
        """Whether nothing at all is pending."""
        return not (
            self.pending
            or self.stale
            or self.compares
            or self.applier.touched
            or self.applier.touched_after[1]
            or self.copying
        )


def is_below(path: bytes, directory: bytes) -> bool:
    return not directory or path == directory or path.startswith(directory + b"/")
