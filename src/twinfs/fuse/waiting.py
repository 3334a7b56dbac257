"""How pyfuse3's tasks wait for the kernel's next request.

pyfuse3 takes a lock and has trio's loop wait: two rounds of the loop, and mostly a processor that falls
asleep and is woken, for each request. A program that makes one call after the other comes back within
some 20 microseconds; to look for its next request that long takes half as long as all that.

Source: `_wait_fuse_readable` and `_session_loop` in pyfuse3's __init__.pyx. It looks names up in its own
`trio`, which may be another module: its support for asyncio is made that way.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from types import SimpleNamespace
from typing import Final

import pyfuse3
import trio

_LOOKING_SECONDS: Final = 40e-6
_LONGEST_TURN_SECONDS: Final = 0.001
"""After that the loop's other tasks have their turn, whatever the kernel asks."""
_MOST_CREDIT: Final = 8
_LEAST_CREDIT: Final = -64


class Waiting:
    """For one session's descriptor. One task waits in the loop; those that have just answered look first.

    Who waits in the loop looks again when woken: another may have taken the request, and reading would
    then hold up everything.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._fd = -1
        self._turn = trio.Lock()
        self._turn_began = 0.0
        # Looking costs a processor, and is for nothing where requests are far between.
        self._credit = 0
        self._may_look = len(os.sched_getaffinity(0)) > 1

    async def wait_readable(self, fd: int) -> None:
        """Returns without a checkpoint where a request is there; every millisecond there is one."""
        if fd != self._fd:
            self._watch(fd)
        if time.monotonic() - self._turn_began > _LONGEST_TURN_SECONDS:
            await trio.lowlevel.checkpoint()
            self._turn_began = time.monotonic()
        if self._poll.poll(0) or self._look():
            return
        began = time.monotonic()
        async with self._turn:
            while True:
                await trio.lowlevel.wait_readable(fd)
                if self._poll.poll(0):
                    break
        self._turn_began = time.monotonic()
        if self._credit <= 0 and self._turn_began - began < 5 * _LOOKING_SECONDS:
            self._credit = max(self._credit + 1, 1)

    def _watch(self, fd: int) -> None:
        if self._fd >= 0:
            self._poll.unregister(self._fd)
        self._poll.register(fd, select.POLLIN)
        self._fd = fd

    def _look(self) -> bool:
        """Whether a request comes within moments. Other threads run meanwhile: poll(2) is made without
        the interpreter's lock."""
        if self._credit <= 0 or not self._may_look:
            return False
        poll, until = self._poll.poll, time.monotonic() + _LOOKING_SECONDS
        while time.monotonic() < until:
            if poll(0):
                self._credit = min(self._credit + 1, _MOST_CREDIT)
                return True
        self._credit -= 1
        return False


def install() -> None:
    """Before the session begins: from then on pyfuse3 waits so."""
    waiting = Waiting()
    lowlevel = SimpleNamespace(
        current_task=trio.lowlevel.current_task,
        current_trio_token=trio.lowlevel.current_trio_token,
        notify_closing=trio.lowlevel.notify_closing,
        wait_readable=waiting.wait_readable,
    )
    pyfuse3.trio = SimpleNamespace(  # type: ignore[attr-defined]  # its module's global
        ClosedResourceError=trio.ClosedResourceError,
        # Who waits in the loop has `Waiting`'s own.
        Lock=contextlib.nullcontext,
        open_nursery=trio.open_nursery,
        lowlevel=lowlevel,
    )
