"""The process that reads: `python -m twinfs.scrub.worker FD`, started by whoever holds the volume.

A process of its own, because walking and hashing would otherwise take the interpreter's lock from those who
serve the volume; and it only ever reads the legs, so it can be killed at any time.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from pathlib import Path
from typing import Final

from twinfs.fsio.priority import be_idle
from twinfs.mirror.exclude import Excludes
from twinfs.model import ReadMethod
from twinfs.scrub.messages import Finished, Frames, FromWorker, GiveWay, Order, Position, frame, to_worker
from twinfs.scrub.objects import Objects
from twinfs.scrub.pace import Pace
from twinfs.scrub.plan import Plan
from twinfs.scrub.reading import Outcome, PairRead, PairReader
from twinfs.scrub.runs import EXAMINING, READING, WALKING, Runs
from twinfs.scrub.store import Store
from twinfs.scrub.todo import Suspects, Suspicion, Todo
from twinfs.scrub.walk import Walk

_TELL_SECONDS: Final = 0.2
_SAVE_SECONDS: Final = 0.5
_SAVED_AT_ONCE: Final = 500
_ROUND_SECONDS: Final = 0.25
"""Between two attempts at files that are being written; doubled each time."""


class HostGoneError(Exception):
    """Nobody listens any more."""


class Host:
    """The other end."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._frames = Frames()
        self._waiting: list[bytes] = []

    def order(self) -> Order:
        while not self._waiting:
            self._receive(None)
        message = to_worker(self._waiting.pop(0))
        assert isinstance(message, Order)
        return message

    def poll(self, seconds: float = 0.0) -> bool | None:
        """Whether people work on the volume, if that was said since; waits so long for it."""
        self._receive(seconds)
        said = None
        while self._waiting:
            message = to_worker(self._waiting.pop(0))
            if isinstance(message, GiveWay):
                said = message.is_busy
        return said

    def _receive(self, seconds: float | None) -> None:
        if not select.select([self._channel], [], [], seconds)[0]:
            return
        data = self._channel.recv(65536)
        if not data:
            raise HostGoneError
        self._waiting += self._frames.feed(data)

    def tell(self, message: FromWorker) -> None:
        try:
            self._channel.sendall(frame(message))
        except OSError as error:
            raise HostGoneError from error


class Worker:
    """One run, or what is left of it."""

    def __init__(self, host: Host, order: Order) -> None:
        self._host = host
        self._order = order
        self._store = Store(Path(order.store))
        self._runs, self._todo = Runs(self._store), Todo(self._store)
        self._suspects, self._objects = Suspects(self._store), Objects(self._store)
        self._plan = Plan.parse(order.plan)
        self._pace = Pace(order.max_rate, sleep=self._sleep)
        self._found: list[Suspicion] = []
        self._done: list[PairRead] = []
        self._files = self._bytes = self._files_total = self._bytes_total = 0
        self._told = self._saved = time.monotonic()

    def run(self) -> None:
        phase, position = self._runs.phase(self._order.run)
        if phase == WALKING:
            self._walk(position)
            phase = READING
        if phase == READING:
            self._read()
        self._host.tell(Finished())

    def _sleep(self, seconds: float) -> None:
        """Listens meanwhile: the host may have more to say, or be gone."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._hear(left)

    def _hear(self, seconds: float = 0.0) -> None:
        if (is_busy := self._host.poll(seconds)) is not None:
            self._pace.is_busy = is_busy

    def _show(self, step: str, current: bytes) -> None:
        now = time.monotonic()
        if now - self._told < _TELL_SECONDS:
            return
        self._told = now
        self._hear()
        self._host.tell(
            Position(step, self._files, self._files_total, self._bytes, self._bytes_total, current)
        )

    # Metadata

    def _walk(self, position: bytes | None) -> None:
        order = self._order
        roots = order.primary_fd, order.secondary_fd
        excludes = Excludes(order.excludes)
        walk = Walk(roots, self._store, excludes, self._found.append, self._plan.wants)
        counted = 0
        for path in walk.run(position):
            with self._store.transaction():
                for suspicion in self._found:
                    self._suspects.add(suspicion)
                self._runs.set_phase(order.run, WALKING, path)
                self._runs.add(order.run, files=walk.files - counted)
            counted = self._files = walk.files
            self._found.clear()
            self._show("comparing", path)
            self._pace(0)
        if self._plan.percent is not None:
            self._todo.keep_oldest(self._plan.percent)
        with self._store.transaction():
            self._objects.forget_orphans()
            self._runs.set_totals(order.run, *self._todo.totals())
            self._runs.set_phase(order.run, READING)

    # Contents

    def _read(self) -> None:
        order = self._order
        self._files_total, self._bytes_total = self._runs.totals(order.run)
        files_left, bytes_left = self._todo.totals()
        self._files, self._bytes = self._files_total - files_left, self._bytes_total - bytes_left
        reader = PairReader(
            (order.primary_fd, order.secondary_fd),
            (ReadMethod(order.primary_read), ReadMethod(order.secondary_read)),
            self._pace,
        )
        wait = _ROUND_SECONDS
        try:
            while self._todo.totals()[0]:
                for read in reader.run(self._todo.items()):
                    self._take(read)
                self._save()
                if self._todo.totals()[0]:
                    self._sleep(wait)
                    wait *= 2
        finally:
            reader.close()
        with self._store.transaction():
            self._runs.set_phase(order.run, EXAMINING)

    def _take(self, read: PairRead) -> None:
        self._done.append(read)
        if read.outcome is not Outcome.MOVING:
            self._files += 1
            self._bytes += read.item.size
        if len(self._done) >= _SAVED_AT_ONCE or time.monotonic() - self._saved > _SAVE_SECONDS:
            self._save()
        self._show("reading", read.item.path)

    def _save(self) -> None:
        """One short transaction for many files."""
        self._saved = time.monotonic()
        busy = size = 0
        with self._store.transaction():
            for read in self._done:
                if read.outcome is Outcome.MOVING:
                    busy += not self._todo.put_back(read.item, read.size)
                    continue
                self._todo.remove(read.item)
                size += read.item.size
                if read.outcome is Outcome.SUSPECT or not self._is_as_known(read):
                    self._suspects.add(Suspicion(read.item.path))
                else:
                    self._objects.know_content(
                        read.item.object,
                        read.content,
                        read.size,
                        read.mtime_ns,
                        begun_ns=read.begun_ns,
                        is_scrubbed=True,
                    )
            self._runs.add(self._order.run, size=size, busy=busy)
        self._done.clear()

    def _is_as_known(self, read: PairRead) -> bool:
        """Both legs are equal; but are they what they were?"""
        known = self._objects.content_of(read.item.object)
        if known is None or (known.content_size, known.content_mtime_ns) != (read.size, read.mtime_ns):
            return True
        return known.content == read.content


def main() -> int:
    """Exit code 0 when all was read, 1 otherwise."""
    be_idle()
    channel = socket.socket(fileno=int(sys.argv[1]))
    host = Host(channel)
    try:
        order = host.order()
        try:
            Worker(host, order).run()
        except HostGoneError:
            raise
        except Exception as error:
            host.tell(Finished(f"{type(error).__name__}: {error}"))
            raise
    except HostGoneError:
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Reading threads may hang in a disk that does not answer: nobody waits for them.
    os._exit(code)
