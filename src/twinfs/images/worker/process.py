"""Starts and ends readers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from twinfs.errors import ImageError

_ARENAS: Final = "2"
_DYING_SECONDS: Final = 0.3
_TICKS: Final = os.sysconf("SC_CLK_TCK")


_waiting: list[tuple[subprocess.Popen[bytes], socket.socket]] = []


def start_ahead() -> None:
    """Start a reader that the next `start` will hand out: it loads while its caller does.

    Only where one is wanted for certain. Unused, it ends with this process.
    """
    _waiting.append(_started())


def start(handed: int | None = None) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A fresh reader and our end of its socket. Whoever calls this ends it, with `stop`.

    `handed` is a descriptor that the reader inherits under the same number, such as a connection: it may
    make none itself.
    """
    if handed is not None:
        return _started(handed)
    return _waiting.pop() if _waiting else _started()


def _started(*handed: int) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "twinfs.images.worker", str(theirs.fileno())],
            # Not by its path, which an ordinary user may have no right to go along.
            executable="/proc/self/exe",
            pass_fds=[theirs.fileno(), *handed],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Each arena of malloc reserves 64 MB of what the reader may have.
            env={**os.environ, "MALLOC_ARENA_MAX": _ARENAS},
        )
    except OSError as error:
        ours.close()
        raise ImageError(f"cannot start a reader: {error.strerror}") from None
    finally:
        theirs.close()
    return process, ours


def stop(process: subprocess.Popen[bytes]) -> None:
    """It has nothing to save. One that waits for a disk which does not answer ends when the disk does."""
    process.kill()
    try:
        process.wait(_DYING_SECONDS)
    except subprocess.TimeoutExpired:
        threading.Thread(target=process.wait, daemon=True).start()


def is_starved(process: subprocess.Popen[bytes], seconds_before: float, over_seconds: float) -> bool:
    """Whether it waits for a processor or a disk that others use, and got little of it in the `over_seconds`
    since `work_seconds` was `seconds_before`. One that is stopped, or waits for itself, is not starved."""
    return work_seconds(process) - seconds_before < over_seconds / 2 and any(
        state in b"RD" for state, _ in _threads(process)
    )


def work_seconds(process: subprocess.Popen[bytes]) -> float:
    """Of processors, by all its threads, in seconds."""
    return sum(seconds for _, seconds in _threads(process))


def _threads(process: subprocess.Popen[bytes]) -> Iterator[tuple[bytes, float]]:
    """(state, seconds of processors) of each; see proc(5), /proc/pid/stat."""
    for stat in Path(f"/proc/{process.pid}/task").glob("*/stat"):
        try:
            fields = stat.read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue  # it ended
        yield fields[0], (int(fields[11]) + int(fields[12])) / _TICKS


def last_words(process: subprocess.Popen[bytes]) -> str:
    """Why there is no answer, once the socket is closed from the other side."""
    code = process.wait()
    return f"the reader of the image died ({f'signal {-code}' if code < 0 else f'exit code {code}'})"
