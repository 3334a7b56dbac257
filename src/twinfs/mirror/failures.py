"""What an error of the secondary means: the disk, one object, or a name that is not as expected."""

from __future__ import annotations

import errno
from typing import Final

from twinfs.fsio.metadata import SourceError
from twinfs.journal.log import LogError

LEG_FAILURES: Final = frozenset(
    (
        errno.EIO,
        errno.ENODEV,
        errno.ENXIO,
        errno.EROFS,
        errno.ETIMEDOUT,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ESHUTDOWN,
        errno.EUCLEAN,
        errno.EBADF,
        errno.ENOMEDIUM,
    )
)
"""The leg is faulty: nothing more is asked of it until it is opened anew."""

PRIMARY_FAILURES: Final = LEG_FAILURES - {errno.EBADF, errno.ESTALE}
"""What may mean that the primary is failing; without what its callers get in the normal course of things."""

UNEXPECTED: Final = frozenset(
    (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ELOOP, errno.EXDEV)
)
"""What the kernel says when a name is not what a change expects: comparing it tells what to do."""

# Everything else (no room, not permitted, immutable, a name too long) is that object's trouble: it
# waits, the leg and the other objects go on.


def is_leg_failure(error: OSError) -> bool:
    return error.errno in LEG_FAILURES and not isinstance(error, LogError | SourceError)


def is_shortage(error: OSError) -> bool:
    """Of this process, or of the machine: it says nothing of any disk."""
    return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def is_full(error: OSError) -> bool:
    """No room, for everybody or for one user: what is there stays, and can be deleted."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


class BusyError(OSError):
    """Nobody's fault: the primary's object is being written, and its times are not its own at that moment."""

    def __init__(self, path: bytes) -> None:
        super().__init__(errno.EBUSY, "it is being written", path)
