"""A new file's descriptor on the secondary, opened on the way that makes the file there.

Whoever makes a file writes to it next, and would else go to the secondary's lane once more, to open it.
"""

from __future__ import annotations

import os

from twinfs.mirror.attachment import Attachment


class NewFile:
    """Belongs to the lane's thread until it is handed over, and then to who makes the file.

    `times_ns` are the primary's (atime, mtime), which the secondary's file gets; `fd` is -1 until there is
    one. `doubts` are those of before: see `State.doubts`.
    """

    __slots__ = ("_attachment", "_opened", "doubts", "fd", "times_ns")

    def __init__(self) -> None:
        self._attachment: Attachment | None = None
        self._opened = -1
        self.doubts = 0
        self.fd = -1
        self.times_ns = (0, 0)

    def begin(self, attachment: Attachment, doubts: int) -> None:
        self._attachment, self.doubts = attachment, doubts

    def is_of(self, attachment: Attachment) -> bool:
        return attachment is self._attachment

    @property
    def is_opened(self) -> bool:
        """In the lane: whether it was made, and has its times."""
        return self._opened >= 0

    def opened(self, fd: int) -> None:
        """In the lane: the file has just been made."""
        self._opened = fd

    def hand_over(self) -> None:
        """In the lane, at the end. Of a disk that was given up nobody waits for it any more; with the lock
        that giving up takes, either this sees that, or who waited finds the descriptor."""
        attachment = self._attachment
        if attachment is None:
            return
        with attachment.lock:
            if not attachment.is_given_up:
                self.fd, self._opened = self._opened, -1
        self.drop()

    def drop(self) -> None:
        """In the lane: what was not handed over."""
        fd, self._opened = self._opened, -1
        if fd >= 0:
            os.close(fd)

    def let_go(self) -> None:
        """Whoever makes the file does not need it."""
        fd, self.fd = self.fd, -1
        if fd >= 0 and self._attachment is not None:
            self._attachment.close_later(fd)
