"""One process a volume: a flock(2) held for as long as the process lives.

The kernel drops the lock when its holder dies, however it dies. A pid file would have to be
believed, and a reused pid would be believed wrongly.
"""

from __future__ import annotations

import fcntl
import os
import time
from types import TracebackType

from twinfs.daemon.paths import Paths
from twinfs.errors import AlreadyMountedError, StateError

_RETRY_SECONDS = 0.05
_PATIENCE_SECONDS = 0.5


class VolumeLock:
    """Exclusive right to a volume's legs and log, as a context manager.

    Tries for half a second: `is_held` of another process takes a shared lock for a moment, which
    must not look like a living daemon. Raises AlreadyMountedError, StateError.
    """

    def __init__(self, paths: Paths, name: str) -> None:
        self._paths = paths
        self._name = name
        self._fd = -1

    def __enter__(self) -> VolumeLock:
        path = self._paths.lock_file(self._name)
        try:
            self._paths.make_volume_dir(self._name)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}; the state directory must be writable") from None
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _try_lock(self._fd, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
                os.close(self._fd)
                raise AlreadyMountedError(f"volume {self._name} is in use by process {holder}")
            time.sleep(_RETRY_SECONDS)
        # For messages only; whether the holder lives is what the lock says.
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)


def is_held(paths: Paths, name: str) -> bool:
    """Whether a process holds the volume now. May be out of date by the time it returns."""
    try:
        fd = os.open(paths.lock_file(name), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StateError(f"{paths.lock_file(name)}: {error.strerror}") from None
    try:
        return not _try_lock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def wait_until_free(paths: Paths, name: str, timeout_seconds: float) -> bool:
    """Wait for the holder to end; False when it has not by then."""
    deadline = time.monotonic() + timeout_seconds
    while is_held(paths, name):
        if time.monotonic() > deadline:
            return False
        time.sleep(_RETRY_SECONDS)
    return True


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
