"""What stops a batch that would delete too much of the secondary, before its first deletion.

The changes stay in the intent log, in their order, and so does what comes after them: nothing goes on
until somebody says so. An allowance is for what is pending when it is given, and ends with the run that it
was given to: one that is cut short does not let the next one through.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Final

from twinfs.mirror.deletions import could_be_deleted, count_deletions, count_files
from twinfs.mirror.plan import Change

DEFAULT_PERCENT: Final = 50.0
FEW: Final = 100
"""So many deletions are no accident to stop for, unless the settings say what is: small volumes would be
stopped all the time."""


class HeldError(OSError):
    """The brake holds. No fault of the disk's: the leg stays, what is pending waits."""

    def __init__(self, text: str) -> None:
        super().__init__(errno.ECANCELED, text)


class Brake:
    """`max_percent` and `max_files` are what the settings say; None for what they do not.

    `check` runs in the lane, all else in the main thread.
    """

    def __init__(
        self, volume: str = "", max_percent: float | None = None, max_files: int | None = None
    ) -> None:
        self._volume = volume
        self._percent = DEFAULT_PERCENT if max_percent is None else max_percent
        self._few = FEW if max_percent is None else 0
        self._max_files = max_files
        # Up to so many need no look at the disk.
        self._harmless = min(max(0, self._few - 1), self._few if max_files is None else max_files)
        self._held_to = 0
        self._allowed_to = 0
        self.reason = ""
        self.is_told = True

    def holds(self, pending: Sequence[Change]) -> bool:
        """Whether what is pending waits for somebody to allow it."""
        try:
            first = pending[0].number
        except IndexError:  # the lane has just done the last of them
            return False
        return self._allowed_to < first <= self._held_to

    def allow(self, number: int) -> None:
        """Let through what was recorded by then, until `disallow`."""
        self._allowed_to, self._held_to = number, 0

    def disallow(self) -> None:
        self._allowed_to = 0

    def check(self, root_fd: int, changes: Sequence[Change], *, keeps_excluded: bool) -> None:
        """HeldError when the changes, all that are pending, would delete more than they may.

        What a caller in sync mode waits for is not counted: that is no batch.
        """
        if self.holds(changes):
            raise HeldError(self.reason)
        if could_be_deleted(changes, self._allowed_to) <= self._harmless:
            return
        deletions = count_deletions(root_fd, changes, after=self._allowed_to, keeps_excluded=keeps_excluded)
        if deletions and (reason := self._why_not(root_fd, deletions)):
            # In this order: who sees that it is held finds the reason.
            self.reason, self.is_told = reason, False
            self._held_to = changes[-1].number
            raise HeldError(reason)

    def _why_not(self, root_fd: int, deletions: int) -> str:
        go_on = f"if that is meant: twinfs sync {self._volume} --allow-deletes"
        if self._max_files is not None and deletions > self._max_files:
            return f"{deletions} files would be deleted on the secondary, {self._max_files} may be; {go_on}"
        if deletions < self._few or self._percent >= 100:
            return ""
        # As many files make it harmless; beyond that nobody counts.
        enough = int(deletions * 100 / self._percent) + 1
        files = count_files(root_fd, b"", enough)
        if min(deletions, files) * 100 <= self._percent * files:
            return ""
        return (
            f"{deletions} of the secondary's {files} files would be deleted, more than {self._percent:g}%;"
            f" {go_on}"
        )
