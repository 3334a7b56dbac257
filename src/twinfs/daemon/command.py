"""Run somebody else's program for a bounded time: its input at hand, its output bounded, its whole
process group ended when it takes too long.

Blocking; for threads of their own, never for the event loop.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Final

from twinfs.errors import TwinfsError

_MAX_OUTPUT_BYTES: Final = 4096
_TERM_GRACE_SECONDS: Final = 2.0
_KILL_GRACE_SECONDS: Final = 2.0
_NOT_INHERITED: Final = frozenset(
    ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "JOURNAL_STREAM")
)
"""A service manager's words to us alone: a program that sees them may speak in our name, see sd_notify(3)."""


class CommandError(TwinfsError):
    """The program could not be started, failed, or took too long; the message ends with its output."""


class Command:
    """One run. `kill` may be called from another thread."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = list(words)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False

    def run(self, given: bytes, environment: Mapping[str, str], timeout_seconds: float) -> None:
        """Run to the end, `given` on stdin, `environment` beside our own. Raises CommandError.

        Only the program itself is waited for: what it leaves in the background may go on, but
        what it says there is not heard any more.
        """
        name = self._words[0]
        if self._is_killed:
            raise CommandError(f"{name}: not started, because twinfs is ending")
        output, output_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            with os.fdopen(os.memfd_create("stdin"), "w+b") as source:
                # A file and not a pipe: a program that does not read it cannot make us wait.
                source.write(given)
                source.seek(0)
                os.set_blocking(output_end, True)
                process = self._start(source.fileno(), output_end, environment)
            os.close(output_end)
            output_end = -1
            said, is_over = self._watch(process, output, timeout_seconds)
        finally:
            os.close(output)
            if output_end >= 0:
                os.close(output_end)
        text = said.decode(errors="replace").strip()
        if not is_over:
            raise CommandError(_with(f"{name}: ended by force after {timeout_seconds:g} s", text))
        if process.returncode:
            raise CommandError(_with(f"{name}: {_reason(process.returncode)}", text))

    def kill(self) -> None:
        """End it at once, and keep it from starting if it has not."""
        self._is_killed = True
        # Once reaped, its number may be another's.
        if self._process is not None and self._process.returncode is None:
            _signal(self._process, signal.SIGKILL)

    def _start(self, source: int, output: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        inherited = {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED}
        try:
            self._process = subprocess.Popen(
                self._words,
                stdin=source,
                stdout=output,
                stderr=output,
                cwd="/",
                env={**inherited, **environment},
                # A group of its own, to be ended with all that it started; and signals to us are not for it.
                start_new_session=True,
                # The daemon's own is 0, see process.py: files of a hook would be everybody's to write.
                umask=0o022,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise CommandError(f"{self._words[0]}: cannot be started: {reason}") from None
        if self._is_killed:
            self.kill()
        return self._process

    def _watch(
        self, process: subprocess.Popen[bytes], output: int, timeout_seconds: float
    ) -> tuple[bytes, bool]:
        """(the first of its output, whether it ended by itself)."""
        said = bytearray()
        ended = os.pidfd_open(process.pid)
        try:
            is_over = _wait(ended, output, said, timeout_seconds)
            if not is_over:
                _signal(process, signal.SIGTERM)
                _wait(ended, output, said, _TERM_GRACE_SECONDS)
                # Also when the program itself has gone: those that it started may not have.
                _signal(process, signal.SIGKILL)
                _wait(ended, output, said, _KILL_GRACE_SECONDS)
            # A process in an uninterruptible call outlives even that; it is reaped when another one starts.
            if process.poll() is not None:
                _read(output, said)
        finally:
            os.close(ended)
        return bytes(said[:_MAX_OUTPUT_BYTES]), is_over


def _wait(ended: int, output: int, said: bytearray, timeout_seconds: float) -> bool:
    """Until the process ends, True, or the time is up, False; keeps its output flowing meanwhile."""
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(output, select.POLLIN)
    deadline = time.monotonic() + timeout_seconds
    while (left := deadline - time.monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000):
            if fd == ended:
                return True
            if not _read(output, said):
                poll.unregister(output)
    return False


def _read(output: int, said: bytearray) -> bool:
    """Keep the first bytes, drop the others. False at the end of the output."""
    try:
        chunk = os.read(output, 1 << 16)
    except BlockingIOError:
        return True
    said += chunk[: max(0, _MAX_OUTPUT_BYTES - len(said))]
    return bool(chunk)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the process and all of its group that are left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _reason(code: int) -> str:
    return f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"


def _with(message: str, output: str) -> str:
    return message + "".join(f"\n  {line}" for line in output.splitlines())
