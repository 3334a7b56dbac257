"""Turn into a daemon, and let the command that started it know how that went.

The command ends only when the volume answers; if it never does, the daemon's own words and exit
code become the command's. A daemon that says "see the log" has told its user nothing.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from typing import IO, NoReturn, Protocol

from twinfs.errors import MountError, TwinfsError
from twinfs.report.plain_text import readable

_log = logging.getLogger(__name__)
_MAX_STDERR_BYTES = 4096


class OnReady(Protocol):
    """Called when the volume answers, with what whoever started it should know."""

    def __call__(self, *notes: str) -> None: ...


class StartError(MountError):
    """The daemon ended before the volume answered; it chose the exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def in_background(
    body: Callable[[OnReady], None], name: str, say: Callable[[str], None] = lambda note: None
) -> int:
    """Run `body(on_ready)` in a daemon; return its pid when it has called `on_ready`, its notes said.

    Raises StartError with the daemon's message if it fails or dies before. Interrupted while
    waiting, it asks the daemon to end, so that Ctrl-C does not leave one behind.
    """
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(read_fd)
        _leave_and_run(body, write_fd)
    os.close(write_fd)
    os.waitpid(child, 0)
    with os.fdopen(read_fd, encoding="utf-8") as messages:
        pid = int(messages.readline() or 0)
        try:
            for note in _await_ready(messages, name):
                say(note)
            return pid
        except KeyboardInterrupt:
            if pid:
                os.kill(pid, signal.SIGTERM)
            raise


def _await_ready(messages: IO[str], name: str) -> list[str]:
    line = messages.readline()
    if not line:
        raise StartError(f"the daemon of volume {name} died before it answered; see: twinfs events {name}", 1)
    message = json.loads(line)
    if message["is_ready"]:
        return [str(note) for note in message["notes"]]
    raise StartError(message["error"], message["exit_code"])


def _leave_and_run(body: Callable[[OnReady], None], write_fd: int) -> NoReturn:
    """In the child: leave the session and the terminal, then run. See daemon(7), "SysV daemons".

    The second fork leaves a process that is no session leader and so can never get a terminal.
    """
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    exit_code = 1
    try:
        os.chdir("/")
        _close_inherited(keep=write_fd)
        with os.fdopen(write_fd, "w", encoding="utf-8") as messages:
            exit_code = _run(body, messages)
    finally:
        # Not sys.exit: what the command registered to run at its own exit is not ours.
        os._exit(exit_code)


def _close_inherited(keep: int) -> None:
    """Let go of what the caller had open: a script's lock or a pipe would else be held for ever."""
    for entry in os.listdir("/proc/self/fd"):
        fd = int(entry)
        if fd > 2 and fd != keep:
            try:
                os.close(fd)
            except OSError:
                continue  # the directory's own descriptor, closed when the listing ended


def _run(body: Callable[[OnReady], None], messages: IO[str]) -> int:
    null = os.open(os.devnull, os.O_RDWR)
    early = os.memfd_create("stderr", os.MFD_CLOEXEC)
    for fd, replacement in ((0, null), (1, null), (2, early)):
        os.dup2(replacement, fd)
    messages.write(f"{os.getpid()}\n")
    messages.flush()

    def on_ready(*notes: str) -> None:
        os.dup2(null, 2)
        _tell(messages, is_ready=True, notes=notes)

    try:
        body(on_ready)
    except TwinfsError as error:
        # Before the start is complete this is an answer to somebody; afterwards it is trouble.
        level = logging.ERROR if messages.closed else logging.WARNING
        _tell(messages, error=str(error) + _said_by_libraries(early), exit_code=error.exit_code)
        _log.log(level, "%s", error)
        return error.exit_code
    except BaseException as error:  # noqa: BLE001  as said below
        # The last frame of the process: whatever it is, its reason must reach the command and the log.
        reason = "".join(traceback.format_exception_only(error)).strip()
        _tell(messages, error=f"internal error: {reason}{_said_by_libraries(early)}", exit_code=1)
        _log.exception("the daemon failed")
        return 1
    return 0


def _tell(
    messages: IO[str],
    *,
    is_ready: bool = False,
    notes: Sequence[str] = (),
    error: str = "",
    exit_code: int = 0,
) -> None:
    """Send the outcome. After the first one nobody listens any more, and that is fine."""
    if messages.closed:
        return
    try:
        values = {"is_ready": is_ready, "error": readable(error), "exit_code": exit_code}
        messages.write(json.dumps({**values, "notes": [readable(note) for note in notes]}) + "\n")
        messages.close()
    except BrokenPipeError:
        _log.info("the command that started the daemon did not wait for it")


def _said_by_libraries(early: int) -> str:
    """What libfuse and fusermount3 wrote to stderr meanwhile: often the only reason for a refusal."""
    text = os.pread(early, _MAX_STDERR_BYTES, 0).decode(errors="replace").strip()
    return "".join(f"\n  {line}" for line in text.splitlines())
