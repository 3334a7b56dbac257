"""One long sequential read, made ahead in chunks by both legs at once.

Each leg takes another chunk when it is done with one, so unequal legs get unequal shares. What the
primary reads ahead is then in its page cache, where the kernel's requests find it; what the secondary
reads is kept here until it has been asked for.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from twinfs.mirror.lane import Job
from twinfs.mirror.meter import PRIMARY, SECONDARY
from twinfs.mirror.sides import SharedFd

if TYPE_CHECKING:
    from twinfs.mirror.reads import Read, Reads, Request, Standing

_log: Final = logging.getLogger(__name__)

CHUNK_BYTES: Final = 2 << 20
_AHEAD_CHUNKS: Final = 8
_AT_A_TIME: Final = 2
_IDLE_SECONDS: Final = 2.0
_LEAST_PATIENCE_SECONDS: Final = 0.1
_HEDGE_FACTOR: Final = 3.0


class _Chunk:
    """One that the secondary reads. `standing` is that of the moment when it was asked."""

    __slots__ = ("is_given_up", "job", "patience_seconds", "standing")

    def __init__(self, job: Job[Read], standing: Standing, patience_seconds: float) -> None:
        self.job = job
        self.standing = standing
        self.patience_seconds = patience_seconds
        self.is_given_up = False


class Stream:
    """Of one open file. `position` is how far its reader has come."""

    def __init__(self, reads: Reads, request: Request, position: int) -> None:
        self._reads = reads
        self._request = request
        self._position = position
        self._next = -(-position // CHUNK_BYTES)
        self._chunks: dict[int, _Chunk] = {}
        self._orders = (threading.Lock(), threading.Lock())
        self._running = [0, 0]
        self._last_used = time.monotonic()
        self.has_ended = False
        self._pump()

    @property
    def is_idle(self) -> bool:
        return time.monotonic() - self._last_used > _IDLE_SECONDS

    def covers(self, offset: int) -> bool:
        """Whether a read there is its reader's, and not somebody else's of the same file."""
        ahead = (self._position // CHUNK_BYTES + _AHEAD_CHUNKS) * CHUNK_BYTES
        return not self.has_ended and self._position - CHUNK_BYTES <= offset < ahead

    def reached(self, position: int) -> None:
        """The reader has come so far: what lies behind is let go, and as much more is read ahead."""
        if not self.covers(position):
            return
        self._last_used = time.monotonic()
        if position > self._position:
            self._position = position
            # One chunk behind: the kernel's requests may come in another order.
            oldest = position // CHUNK_BYTES - 1
            for index in [index for index in self._chunks if index < oldest]:
                del self._chunks[index]
        self._pump()

    async def read(self, offset: int, size: int) -> memoryview | None:
        """What the secondary has read ahead; None where the primary is to be asked."""
        index = offset // CHUNK_BYTES
        chunk = self._chunks.get(index)
        self.reached(offset + size)
        if chunk is None or chunk.is_given_up:
            return None
        if not chunk.job.is_done:
            event = trio.Event()
            chunk.job.then(event.set)
            with trio.move_on_after(chunk.patience_seconds):
                await event.wait()
        return self._piece(chunk, offset - index * CHUNK_BYTES, size)

    def _piece(self, chunk: _Chunk, start: int, size: int) -> memoryview | None:
        request = self._request
        # Also of what was read some time ago: nothing has changed since.
        is_right = self._reads.standing(request.node, request.file) == chunk.standing
        if not chunk.job.is_done or not is_right:
            chunk.is_given_up = True
            return None
        try:
            data, file_size = chunk.job.result()
        except OSError as error:
            chunk.is_given_up = True
            self._reads.failed(request.node, error)
            return None
        is_whole = start + size <= len(data) or len(data) < CHUNK_BYTES
        return data[start : start + size] if is_whole and file_size == chunk.standing.size else None

    def end(self) -> None:
        """Nobody reads any more."""
        self.has_ended = True
        self._chunks.clear()

    # Reading ahead

    def _pump(self) -> None:
        """Give each leg that has not enough to do the next chunk: one that it reads, and one that waits."""
        reads, request = self._reads, self._request
        standing = None if self.has_ended else reads.standing(request.node, request.file)
        if standing is None or request.file.sides is not request.sides:
            return
        second = reads.second_fd_now(request, standing)
        self._next = max(self._next, self._position // CHUNK_BYTES)
        for _ in range(_AT_A_TIME):
            for leg, fd in ((PRIMARY, request.sides.primary), (SECONDARY, second)):
                is_ahead = self._next >= self._position // CHUNK_BYTES + _AHEAD_CHUNKS
                if is_ahead or self._next * CHUNK_BYTES >= standing.size:
                    return
                is_busy = self._running[leg] >= _AT_A_TIME
                if fd is None or is_busy or (second is not None and self._is_too_slow(leg)):
                    continue
                self._start(leg, fd, standing)

    def _is_too_slow(self, leg: int) -> bool:
        """Whether the other leg would read all that is ahead before this one has read one chunk more: the
        reader would only wait for it."""
        one, other = (
            self._reads.meters[each].service_seconds(CHUNK_BYTES, is_seek=True) for each in (leg, 1 - leg)
        )
        return 0 < other * (_AHEAD_CHUNKS - 2) < one * (self._running[leg] + 1)

    def _start(self, leg: int, fd: SharedFd, standing: Standing) -> None:
        reads = self._reads
        chunk = replace(self._request, offset=self._next * CHUNK_BYTES, size=CHUNK_BYTES)
        job = reads.start(leg, fd, chunk, order=self._orders[leg])
        if leg == SECONDARY:
            waiting_seconds = reads.meters[leg].waiting_seconds
            patience_seconds = max(_LEAST_PATIENCE_SECONDS, _HEDGE_FACTOR * waiting_seconds)
            self._chunks[self._next] = _Chunk(job, standing, patience_seconds)
        self._next += 1
        self._running[leg] += 1
        job.then(partial(self._ended, leg))

    def _ended(self, leg: int) -> None:
        self._running[leg] -= 1
        try:
            self._pump()
        except Exception:  # noqa: BLE001 - the loop itself calls this: it would end the mount
            _log.exception("reading ahead failed")
            self.end()
