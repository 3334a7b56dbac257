"""The guest's serial console on this terminal. Ctrl-] leaves it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import sys
import termios
import tty
from collections.abc import Iterator

from twinfs.cli.talk import say
from twinfs.fsio.unix_socket import connect
from twinfs_qemu.errors import QemuError, RefusedError
from twinfs_qemu.machine.state import Place

_LEAVE = b"\x1d"


def attach(place: Place) -> bool:
    """Until the machine ends (True), or the person leaves (False). RefusedError: somebody else has it."""
    lock = os.open(place.directory / "console.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # QEMU talks to one at a time, and would let this one wait without a word.
            raise RefusedError(f"the console of {place.name} is open in another terminal") from None
        try:
            end = connect(place.console, 10)
        except OSError as error:
            raise QemuError(f"the console of {place.name} does not answer: {error.strerror}") from error
        with end, _raw_terminal():
            return _relay(end)
    finally:
        os.close(lock)


def _relay(end: socket.socket) -> bool:
    end.setblocking(True)
    sources: list[socket.socket | int] = [end, sys.stdin.fileno()]
    while True:
        ready, _, _ = select.select(sources, (), ())
        if end in ready:
            try:
                got = end.recv(65536)
            except ConnectionResetError:
                return True
            if not got:
                return True
            sys.stdout.buffer.write(got)
            sys.stdout.buffer.flush()
        if sys.stdin.fileno() in ready:
            typed = os.read(sys.stdin.fileno(), 4096)
            if _LEAVE in typed:
                return False
            if not typed:
                # A script's input has ended; what the guest says is still wanted.
                sources.remove(sys.stdin.fileno())
            end.sendall(typed)


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Every key goes to the guest, Ctrl-C too."""
    if not sys.stdin.isatty():
        yield
        return
    say("the guest's console; Ctrl-] leaves it")
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
