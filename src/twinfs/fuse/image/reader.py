"""Asks the reader of a mounted image, many questions at once; replaces it when it hangs, dies or is behind.

Every reader has an epoch. Numbers that one gave out mean nothing to the next, which may list directories
in another order: whoever keeps numbers asks with their epoch, and learns that they are stale.
"""

from __future__ import annotations

import logging
import math
import subprocess
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from twinfs.errors import ImageError
from twinfs.images.luks import derive
from twinfs.images.worker import process, wire
from twinfs.images.worker.client import MAX_KEYS, PATIENCE_SECONDS, prefixed
from twinfs.images.worker.origin import Source

_log: Final = logging.getLogger(__name__)
_CHECK_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 1.0
_MOST_PATIENCE_SECONDS: Final = 60.0
_RECEIVE_BYTES: Final = 1 << 20


class StaleError(ImageError):
    """The number is of a reader that is no more."""


class _Waiting:
    """One question on its way."""

    __slots__ = ("answered", "result", "status")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.status = wire.FAILED
        self.result: Any = "the reader of the image died"


class ImageReader:
    """`run` is to be started in a nursery; `call` then works until that is cancelled."""

    def __init__(
        self,
        origin: Source,
        on_new_epoch: Callable[[], Awaitable[None]],
        passphrase: bytes | None = None,
    ) -> None:
        self._origin = origin
        self._path = origin.path
        self._passphrase = passphrase
        self._on_new_epoch = on_new_epoch
        self._process: subprocess.Popen[bytes] | None = None
        self._stream: trio.SocketStream | None = None
        self._is_ready = False
        """Opened, and unlocked: only then is anybody's question one for this reader."""
        self._waiting: dict[int, _Waiting] = {}
        self._last = 0
        self._sending = trio.Lock()
        self._starting = trio.Lock()
        self._nursery: trio.Nursery | None = None
        self._deadline_moved = 0.0
        self.epoch = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Raises ImageError where the image cannot be opened the first time."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await self._start()
                nursery.start_soon(self._watch)
                task_status.started()
        finally:
            self._nursery = None
            self._stop("the image is being unmounted")

    async def _start(self) -> None:
        assert self._nursery is not None
        # Not in a thread: the reader dies with the thread that started it, see PR_SET_PDEATHSIG in prctl(2).
        self._process, channel, opening = self._origin.start_reader()
        channel.setblocking(False)
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(channel))
        self._nursery.start_soon(self._receive, self._stream)
        await self._ask(*opening)
        if self._passphrase is not None:
            await self._unlock(self._passphrase)
        self._is_ready = True

    async def _unlock(self, passphrase: bytes) -> None:
        """As `ReaderClient` does it, and for the same reasons."""
        for _ in range(MAX_KEYS):
            wanted = await self._ask("wanted_key")
            if wanted is None:
                return
            key = await trio.to_thread.run_sync(derive, passphrase, wire.derivation_of(wanted))
            await self._ask("add_key", wanted, key)

    def _stop(self, reason: str) -> None:
        """Everybody who waits is told; the next question starts a new reader."""
        if self._process is not None:
            process.stop(self._process)
            self._process = None
        self._stream = None
        self._is_ready = False
        for waiting in self._waiting.values():
            waiting.result = reason
            waiting.answered.set()
        self._waiting.clear()

    @property
    def is_ready(self) -> bool:
        """Whether there is a reader with the image open. The next `call` makes one if not."""
        return self._is_ready

    async def ready(self) -> None:
        """Until a reader has the image open, if need be a new one in a new epoch. Raises ImageError."""
        if not self._is_ready:
            async with self._starting:
                if not self._is_ready:
                    await self._restart()

    def begin(self, task: Callable[[], Awaitable[None]]) -> None:
        """Runs beside all else, and ends with the reader's `run`. Raises ImageError where that has ended."""
        if self._nursery is None:
            raise ImageError(f"{self._path}: its reader is gone")
        self._nursery.start_soon(task)

    async def call(self, method: str, *arguments: Any) -> Any:  # noqa: ANN401  what the method returns
        """Raises ImageError."""
        await self.ready()
        return await self._ask(method, *arguments)

    async def _restart(self) -> None:
        self.epoch += 1
        try:
            await self._start()
        except ImageError:
            self._stop("the image cannot be opened")
            raise
        await self._on_new_epoch()

    async def _ask(self, method: Any, *arguments: Any) -> Any:  # noqa: ANN401  as call
        stream = self._stream
        if stream is None:
            raise ImageError(f"{self._path}: its reader is gone")
        self._last += 1
        question = wire.frame((self._last, method, arguments))
        waiting = self._waiting[self._last] = _Waiting()
        try:
            async with self._sending:
                await stream.send_all(question)
            await self._await(waiting, stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._lose(stream, "the reader of the image died")
        if waiting.status == wire.CHANGED:
            self._lose(stream, waiting.result)
        if waiting.status != wire.OK:
            raise ImageError(prefixed(self._path, waiting.result))
        return waiting.result

    async def _await(self, waiting: _Waiting, stream: trio.SocketStream) -> None:
        # Not moved by other questions: one thread of a reader may hang while the others answer.
        started = trio.current_time()
        while not waiting.answered.is_set():
            left = max(started, self._deadline_moved) + PATIENCE_SECONDS - trio.current_time()
            is_too_long = trio.current_time() - started > _MOST_PATIENCE_SECONDS
            if left <= 0 and not is_too_long and await self._is_starved(waiting):
                continue
            if left <= 0:
                waiting.result = f"no progress for {PATIENCE_SECONDS:.0f} s; it is damaged, or made to harm"
                self._lose(stream, waiting.result)
                return
            with trio.move_on_after(left):
                await waiting.answered.wait()

    async def _is_starved(self, waiting: _Waiting) -> bool:
        """Looks for a second, or until the answer comes. On a machine that is busy, nobody is to be told that
        a good image is damaged."""
        reader = self._process
        if reader is None:
            return False
        before = process.work_seconds(reader)
        with trio.move_on_after(_LOOK_SECONDS):
            await waiting.answered.wait()
        return process.is_starved(reader, before, _LOOK_SECONDS)

    def _lose(self, stream: trio.SocketStream, reason: str) -> None:
        if stream is self._stream:
            _log.warning("%s: %s", self._path, reason)
            self._stop(reason)

    async def _receive(self, stream: trio.SocketStream) -> None:
        """Hand answers to who waits for them, until this reader ends."""
        buffer = bytearray()
        try:
            while piece := await stream.receive_some(_RECEIVE_BYTES):
                buffer += piece
                while len(buffer) >= wire.HEAD.size:
                    (length,) = wire.HEAD.unpack_from(buffer)
                    if len(buffer) < wire.HEAD.size + length:
                        break
                    self._answer(wire.answer_of(bytes(buffer[wire.HEAD.size : wire.HEAD.size + length])))
                    del buffer[: wire.HEAD.size + length]
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            _log.info("%s: the reader closed its socket", self._path)
        finally:
            await trio.aclose_forcefully(stream)
        self._lose(stream, "the reader of the image died")

    def _answer(self, answer: wire.Answer) -> None:
        ident, status, result = answer
        if status == wire.ALIVE:
            self._deadline_moved = trio.current_time()
            return
        waiting = self._waiting.pop(ident, None)
        if waiting is not None:
            waiting.status, waiting.result = status, result
            waiting.answered.set()

    async def _watch(self) -> None:
        """An image that is rewritten is opened anew, also when nobody asks: the kernel answers for us."""
        while not math.isinf(_CHECK_SECONDS):
            await trio.sleep(_CHECK_SECONDS)
            try:
                await self.call("check")
            except ImageError as error:
                _log.info("%s", error)
