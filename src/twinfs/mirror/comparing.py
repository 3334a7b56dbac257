"""What has to be compared: asked for here, in the log, done by mirror/rebuild.py."""

from __future__ import annotations

import time
from typing import Final

import msgspec
import trio

from twinfs.journal.records import (
    Compare,
    Rename,
    renamed,
)
from twinfs.mirror.state import CLOCK_SLACK_NS, State, is_below

_COMPARISON_PATIENCE_SECONDS: Final = 5.0


class Comparing(State):
    """Comparisons that are pending, and the one that is on its way."""

    def compare_later(self, path: bytes, distrust_ns: int = 0, *, is_keeping: bool = False) -> None:
        """Put "compare everything below `path`" into the log."""
        self.doubts += 1
        if any(
            number != self.comparing
            and is_below(path, known.path)
            and known.is_keeping >= is_keeping
            and _is_as_strict(known.distrust_ns, distrust_ns)
            for number, known in list(self.compares.items())
        ):
            return  # the one that is running may have passed the path already
        number = self.log.next_number()
        record = Compare(path, distrust_ns, self.distrusted_since_ns, is_keeping)
        self.is_durable = False
        if self._asked.issuperset(list(self.compares)):
            self._asked.add(number)
        # First here: a log that is written anew in between then has it, too.
        self.compares[number] = record
        self.compares_since[number] = time.time()
        try:
            self.log.append(number, record)
        except OSError:
            self.log.owe(number, record)
            raise

    async def wait_for_comparison(self) -> None:
        """For a caller in sync mode whose change only a comparison can mirror. Not for ever: comparing
        everything may take long, and `status` says that it goes on."""
        if not self._asked:
            return
        if self.is_mirroring_now:
            self.wake()
            with trio.move_on_after(_COMPARISON_PATIENCE_SECONDS):
                while not self._asked.isdisjoint(list(self.compares)):  # noqa: ASYNC110 - rare
                    await trio.sleep(0.005)
        self._asked.clear()

    @property
    def distrusted_since_ns(self) -> int:
        """What was written since may not have reached the disk."""
        return max(1, self.durable_ns - CLOCK_SLACK_NS)

    def _moved_uncompared(self, change: Rename) -> tuple[bytes, ...]:
        """Where a comparison on its way may have passed the new place and not yet reached the old one: told
        to that comparison, or handed back for another one."""
        running = self.compares.get(self.comparing)
        others = [record for number, record in list(self.compares.items()) if number != self.comparing]
        uncovered: tuple[bytes, ...] = ()
        for path in (change.source, change.path) if change.is_exchange else (change.path,):
            if running is not None and is_below(path, running.path):
                self.on_moved(path)
            elif (running or others) and not any(is_below(path, record.path) for record in others):
                uncovered += (path,)
        return uncovered

    def _compares_follow(self, number: int, change: Rename) -> None:
        for known, record in list(self.compares.items()):
            if known < number and known != self.comparing:
                self.compares[known] = msgspec.structs.replace(record, path=renamed(record.path, change))


def _is_as_strict(known_ns: int, wanted_ns: int) -> bool:
    """Whether a comparison that distrusts since `known_ns` reads what one since `wanted_ns` would."""
    return not wanted_ns or 0 < known_ns <= wanted_ns
