"""Reads that both legs can answer: which is asked, when the other is asked, too, whose word counts.

The secondary's answer counts only if the object was in sync on it when it was asked and nothing has
changed until its answer is here (`Standing`); else the primary is asked. What fails on the secondary costs
the caller that, never an error.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from twinfs.fsio.cached import is_cached, read_cached
from twinfs.fsio.copy import read_whole
from twinfs.fsio.metadata import fd_path
from twinfs.mirror.attachment import Attachment
from twinfs.mirror.core import Core
from twinfs.mirror.lane import Job
from twinfs.mirror.meter import PRIMARY, SECONDARY, LegMeter
from twinfs.mirror.nodes import Node
from twinfs.mirror.openfile import OpenFile
from twinfs.mirror.sides import SecondFile, SharedFd, Sides
from twinfs.mirror.stream import Stream
from twinfs.model import ReadPolicy

_MOST_WAITING: Final = 64
"""Requests to a leg, each in a thread of its own; what comes beyond waits for one of the loop's threads."""
_NEAR_BYTES: Final = 512 * 1024
"""The kernel reads ahead with more than one request, which may come in another order."""
_LONG_BYTES: Final = 1 << 20
_MOST_STREAMS: Final = 4
_STAYING_FACTOR: Final = 0.5
_FEW_WAITING: Final = 2
"""As many as the kernel has under way for one sequential reader."""
_OPENING_SECONDS: Final = 0.2
_UNMEASURED_SECONDS: Final = 1e-6

Read = tuple[memoryview, int]
"""What was read, and the file's size afterwards."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What must be the same before and after a read from the secondary, for an object that is in sync."""

    attachment: Attachment
    doubts: int
    changes: int
    era: int
    size: int


@dataclass(frozen=True, slots=True)
class Request:
    """One read of the kernel's, or the last one of a stream's caller."""

    node: Node
    file: OpenFile
    sides: Sides
    offset: int
    size: int


class Reads:
    """One volume's. `on_event` is told (kind, message)."""

    def __init__(self, core: Core, policy: ReadPolicy) -> None:
        self._core = core
        self._policy = policy
        self.meters = (LegMeter(), LegMeter())
        self._streams: list[Stream] = []
        self.has_mismatches = False
        """Whether the last scrub left something on the legs that differs: then only the primary is read."""
        self.on_event: Callable[[str, str], None] = lambda kind, message: None

    @property
    def is_shared(self) -> bool:
        """Whether the secondary may be asked at all."""
        return self._policy is not ReadPolicy.PRIMARY

    def standing(self, node: Node, file: OpenFile) -> Standing | None:
        """None where the secondary is not to be read: not all of the object is there, or not for sure."""
        core = self._core
        if not core.is_secondary_up or core.is_secondary_asleep or self.has_mismatches:
            return None
        if self.meters[SECONDARY].is_shunned:
            return None
        if node.file is not file or file.fd < 0 or node.stale is not None or not node.is_named:
            return None
        if node.ident in core.copying or node.ident in core.holds:
            return None
        path = node.path()
        if core.is_suspect(path) or core.is_excluded(path, is_directory=False) or not core.is_proven(path):
            return None
        size = os.fstat(file.fd).st_size
        return Standing(core.attachment, core.doubts, file.changes, core.nodes.era, size)

    async def read(self, node: Node, file: OpenFile, offset: int, size: int) -> memoryview:
        """At most `size` bytes; fewer only at the end of the file. An OSError is the primary's."""
        fd = file.read_fd if file.read_fd >= 0 else file.write_fd
        size = min(size, max(0, os.fstat(fd).st_size - offset))
        if not size or is_cached(fd, offset, size):
            buffer = bytearray(size)
            if read_cached(fd, buffer, offset) == size:
                if (sides := file.sides) is not None:
                    # Read ahead by the primary: who goes on behind it goes on there.
                    sides.served_by_primary(offset + size)
                    if sides.stream is not None:
                        sides.stream.reached(offset + size)
                return memoryview(buffer)
        standing = self.standing(node, file)
        if standing is not None and self.meters[PRIMARY].waiting < _MOST_WAITING:
            sides = self._sides_of(file)
            if sides is not None:
                request = Request(node, file, sides, offset, size)
                try:
                    data = await self._read_shared(request, standing)
                except OSError:
                    if file.sides is sides:
                        raise
                else:
                    if file.sides is sides:
                        return data
                # The primary is another leg by now: ask that.
        return await _read_plainly(file, offset, size)

    async def _read_shared(self, request: Request, standing: Standing) -> memoryview:
        stream = self._stream_of(request) if self._policy is ReadPolicy.STRIPE else None
        if stream is None:
            if (
                request.sides.second is None
                and request.sides.is_seek(PRIMARY, request.offset)
                and request.offset
            ):
                # Who reads here and there will need both; by the next request it may be open.
                self.second_fd_now(request, standing)
            first = self._sooner(request)
        else:
            data = await stream.read(request.offset, request.size)
            if data is not None:
                return data
            first = PRIMARY
        return await self._race(request, first, standing)

    def _sides_of(self, file: OpenFile) -> Sides | None:
        if file.sides is None:
            try:
                # Opened anew, and not a duplicate: readahead belongs to the open file description.
                fd = os.open(fd_path(file.fd), os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return None  # too many are open, or its mode forbids it by now
            if self._policy is ReadPolicy.STRIPE:
                # Exactly what is asked for: the rest is the other leg's.
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            file.sides = Sides(fd)
        return file.sides

    def _sooner(self, request: Request) -> int:
        """The leg that is expected to answer first. A lone sequential reader is the primary's: each leg reads
        ahead for it, and what another leg had read by then would be for nothing."""
        if self.meters[SECONDARY].waiting >= _MOST_WAITING:
            return PRIMARY
        sides = request.sides
        is_beginning = not request.offset and sides.last_leg < 0
        is_going_on = is_beginning or not sides.is_seek(PRIMARY, request.offset)
        waiting = self.meters[PRIMARY].waiting
        # However many of its own wait: behind its own reads ahead is where it is served next.
        is_alone = waiting <= sides.waiting_on_primary
        if is_going_on and (is_alone or waiting <= _FEW_WAITING):
            return PRIMARY
        first, second = (
            # Where nothing is measured yet, the shorter queue.
            meter.waiting * _UNMEASURED_SECONDS
            + meter.expected_seconds(request.size, is_seek=sides.is_seek(leg, request.offset))
            * (_STAYING_FACTOR if leg == sides.last_leg else 1)
            for leg, meter in enumerate(self.meters)
        )
        return SECONDARY if second < first else PRIMARY

    # One request

    async def _race(self, request: Request, first: int, standing: Standing) -> memoryview:
        """Ask one leg; after its patience, or where its word does not count, the other, too. The first good
        answer wins; nobody listens to the other, whose thread fills a buffer of its own."""
        asked: dict[int, Job[Read]] = {}
        left = [first, 1 - first]
        while True:
            patience_seconds = math.inf
            if left:
                leg = left.pop(0)
                job = await self._ask(leg, request, standing)
                if job is not None:
                    asked[leg] = job
                elif not asked:
                    continue
                if left:
                    patience_seconds = self.meters[leg].patience_seconds()
            ended = await _first_ended(asked, patience_seconds)
            if ended is None:
                continue
            data = self._answer(ended, asked.pop(ended), request, standing)
            if data is not None:
                return data

    def _answer(self, leg: int, job: Job[Read], request: Request, standing: Standing) -> memoryview | None:
        """None where the secondary's word does not count. An OSError is the primary's."""
        if leg == PRIMARY:
            return job.result()[0]
        try:
            data, size = job.result()
        except OSError as error:
            self.failed(request.node, error)
            return None
        is_right = size == standing.size and self.standing(request.node, request.file) == standing
        return data if is_right else None

    def failed(self, node: Node, error: OSError) -> None:
        """The secondary could not read: it is not asked for a while. Whether its disk is dead is for its own
        checks to find; one bad block must not take the mirror away."""
        if error.errno != errno.ESTALE and self.meters[SECONDARY].shun() and self._core.is_secondary_up:
            name = os.fsdecode(node.path())
            self.on_event("error", f"the secondary cannot read {name}: {error.strerror}; the primary could")

    async def _ask(self, leg: int, request: Request, standing: Standing) -> Job[Read] | None:
        fd = request.sides.primary if leg == PRIMARY else await self._second_fd(request, standing)
        return None if fd is None else self.start(leg, fd, request)

    def start(
        self,
        leg: int,
        fd: SharedFd,
        request: Request,
        *,
        order: contextlib.AbstractContextManager[object] | None = None,
    ) -> Job[Read]:
        """In a thread. The secondary's `fd` is one that `second_fd_now` gave without an await since. `order`
        is a stream's lock: its reads on one leg come one after the other."""
        meter, offset, size = self.meters[leg], request.offset, request.size
        is_ahead = order is not None
        is_seek = is_ahead or request.sides.is_seek(leg, offset)
        asked = meter.begin(size, is_seek=is_seek, is_made_ahead=is_ahead)
        if not is_ahead:
            request.sides.asked(leg, offset + size, is_seek=is_seek)
        # What a stream's reader asks of the primary is being read ahead there.
        is_measured = is_ahead or request.sides.stream is None

        def call() -> Read:
            try:
                if order is None:
                    return fd.read(offset, size)
                # Before its turn: else the disk would have nothing to do between two chunks.
                fd.read_ahead(offset, size)
                with order:
                    return fd.read(offset, size)
            finally:
                meter.end(asked, is_measured=is_measured)

        if leg == SECONDARY:
            return self._core.attachment.start(call, is_read=True)
        job = Job(call, trio.lowlevel.current_trio_token())
        if not is_ahead:
            request.sides.waiting_on_primary += 1
            job.then(partial(_one_less, request.sides))
        trio.lowlevel.start_thread_soon(job.execute, lambda outcome: None)
        return job

    async def _second_fd(self, request: Request, standing: Standing) -> SharedFd | None:
        """The secondary's file, if it can be opened soon and is still in sync then. Only who asks for it
        first waits: its lane may have much to do."""
        known = request.sides.second
        fd = self.second_fd_now(request, standing)
        second = request.sides.second
        if second is not None and second is not known and not second.job.is_done:
            event = trio.Event()
            second.job.then(event.set)
            with trio.move_on_after(_OPENING_SECONDS):
                await event.wait()
            fd = self.second_fd_now(request, standing)
        return fd

    def second_fd_now(self, request: Request, standing: Standing) -> SharedFd | None:
        """The same without waiting: the next time it may be open."""
        core, sides, file = self._core, request.sides, request.file
        if file.sides is not sides or self.standing(request.node, file) != standing:
            return None
        second = sides.second
        if second is not None and (second.attachment, second.doubts) != (core.attachment, core.doubts):
            self._drop_second(sides)
            second = None
        if second is not None and second.job.is_done:
            if second.is_good is None:
                second.judge(os.fstat(file.fd), standing.changes)
            if second.is_good:
                return second.fd
            if second.changes != standing.changes:
                self._drop_second(sides)
                second = None
        if second is None and not core.pending:
            # Its name there is the one that it has here, until the lane is asked for another change.
            path = request.node.path()
            sides.second = SecondFile(core.attachment, core.doubts, standing.changes, path)
        return None

    def _drop_second(self, sides: Sides) -> None:
        if (fd := sides.take_secondary()) >= 0:
            self._core.attachment.close_later(fd)

    # Long sequential reads

    def _stream_of(self, request: Request) -> Stream | None:
        sides, offset = request.sides, request.offset
        end = offset + request.size
        if abs(offset - sides.run_end) > _NEAR_BYTES:
            sides.run_bytes = 0
        sides.run_bytes += request.size
        sides.run_end = max(end, sides.run_end) if sides.run_bytes > request.size else end
        if sides.stream is None and sides.run_bytes >= _LONG_BYTES and self._has_room():
            sides.stream = Stream(self, request, sides.run_end)
            self._streams.append(sides.stream)
        if sides.stream is not None and sides.stream.covers(offset):
            return sides.stream
        return None

    def _has_room(self) -> bool:
        """Streams hold memory: few at a time, and one that nobody reads any more makes room."""
        self._streams = [stream for stream in self._streams if not stream.has_ended]
        for stream in self._streams:
            if len(self._streams) >= _MOST_STREAMS and stream.is_idle:
                stream.end()
        return sum(not stream.has_ended for stream in self._streams) < _MOST_STREAMS


def _one_less(sides: Sides) -> None:
    sides.waiting_on_primary -= 1


async def _first_ended(asked: dict[int, Job[Read]], patience_seconds: float) -> int | None:
    """The leg that has answered; None when none has in that time."""
    event = trio.Event()
    for job in asked.values():
        job.then(event.set)
    with trio.move_on_after(patience_seconds):
        await event.wait()
    return next((leg for leg, job in asked.items() if job.is_done), None)


async def _read_plainly(file: OpenFile, offset: int, size: int) -> memoryview:
    buffer = memoryview(bytearray(size))
    fd = file.read_fd if file.read_fd >= 0 else file.write_fd
    if fd < 0:
        raise OSError(errno.EIO, os.strerror(errno.EIO))  # it went with a primary that failed
    return buffer[: await trio.to_thread.run_sync(read_whole, fd, buffer, offset)]
