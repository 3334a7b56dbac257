"""The answering side of the control socket.

Whatever a client sends or fails to read, the volume goes on: junk is answered with an error, a
client that went away is forgotten, and an unexpected failure of a request is logged and answered.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
import trio

from twinfs.daemon import protocol
from twinfs.daemon.feed import ProgressFeed
from twinfs.daemon.protocol import (
    DoneReply,
    ErrorReply,
    RecoveredReply,
    RecoverRequest,
    Reply,
    Request,
    SyncRequest,
)
from twinfs.errors import TwinfsError
from twinfs.fsio import unix_socket
from twinfs.model import ChannelTest, Mismatch, Mode, Order, Progress, ScrubRun, Survey, VolumeStatus
from twinfs.report.plain_text import readable

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Service(Protocol):
    """What the daemon does for its clients."""

    @property
    def ending(self) -> ProgressFeed:
        """The drain after the unmount, and how the daemon ends."""

    def status(self) -> VolumeStatus: ...

    async def sync(self, on_progress: Callable[[Progress], None], *, allow_deletes: bool = False) -> None: ...

    async def set_mode(self, mode: Mode, interval_seconds: float | None, at: str | None) -> None: ...

    async def scrub(
        self,
        request: protocol.ScrubRequest,
        on_progress: Callable[[Progress], None],
        on_mismatch: Callable[[Mismatch], Awaitable[None]],
    ) -> ScrubRun: ...

    async def test_events(self) -> tuple[ChannelTest, ...]: ...

    async def refresh(self) -> None:
        """Bring the next `status` up to date on what has to be asked of a disk."""

    async def recover(
        self, order: Order, is_dry_run: bool, on_progress: Callable[[Progress], None]
    ) -> str | Survey: ...

    def legs(self) -> protocol.LegsReply: ...


class ControlServer:
    """Serves one volume's socket until cancelled; removes the socket then."""

    def __init__(self, socket_path: Path, service: Service) -> None:
        self._path = socket_path
        self._service = service

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen. Started when clients can connect. Raises OSError when the socket cannot be made."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(unix_socket.listen(self._path)))
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await trio.serve_listeners(self._talk, [listener], handler_nursery=nursery)
        finally:
            self._path.unlink(missing_ok=True)

    async def _talk(self, stream: trio.SocketStream) -> None:
        """One client, one request after another."""
        async with stream:
            lines, send = _Lines(stream), _sender(stream)
            try:
                while (line := await lines.next()) is not None:
                    await self._answer(line, lines, send)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                _log.debug("a control client went away")
            except _LineTooLongError:
                _log.warning("a control client sent a line of more than %d bytes", protocol.MAX_LINE_BYTES)

    async def _answer(self, line: bytes, lines: _Lines, send: Callable[[Reply], Awaitable[None]]) -> None:
        try:
            request = protocol.decode_request(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            await send(ErrorReply(message=f"not a request: {readable(str(error))}", exit_code=2))
            return
        match request:
            case SyncRequest() | RecoverRequest():
                feed = ProgressFeed()
                # In the server's nursery: a client that leaves does not stop a drain half-way.
                self._nursery.start_soon(self._work, request, feed)
                await feed.forward(send)
            case protocol.WaitRequest():
                await send(protocol.WaitingReply())
                await self._service.ending.forward(send)
            case protocol.ScrubRequest():
                await self._scrub(request, lines, send)
            case _:
                await send(await outcome_of(lambda: self._simple(request)))

    async def _simple(self, request: Request) -> Reply:
        match request:
            case protocol.SetModeRequest():
                await self._service.set_mode(request.mode, request.interval_seconds, request.at)
                return DoneReply()
            case protocol.LegsRequest():
                return self._service.legs()
            case protocol.TestEventsRequest():
                return protocol.TestedReply(await self._service.test_events())
            case _:
                await self._service.refresh()
                return protocol.StatusReply.from_status(self._service.status())

    async def _scrub(
        self, request: protocol.ScrubRequest, lines: _Lines, send: Callable[[Reply], Awaitable[None]]
    ) -> None:
        """As long as the client listens: it can be interrupted, and goes on the next time."""
        feed = ProgressFeed()

        async def on_mismatch(mismatch: Mismatch) -> None:
            await send(protocol.MismatchReply.from_mismatch(mismatch))

        async def scrub() -> protocol.ScrubbedReply:
            return protocol.ScrubbedReply(await self._service.scrub(request, feed.publish, on_mismatch))

        async with trio.open_nursery() as nursery:

            async def interrupt() -> None:
                await lines.wait_for_hangup()
                nursery.cancel_scope.cancel()

            async def work() -> None:
                feed.finish(await outcome_of(scrub))

            nursery.start_soon(interrupt)
            nursery.start_soon(work)
            await feed.forward(send)
            nursery.cancel_scope.cancel()

    async def _work(self, request: SyncRequest | RecoverRequest, feed: ProgressFeed) -> None:
        async def work() -> DoneReply | RecoveredReply:
            if isinstance(request, SyncRequest):
                await self._service.sync(feed.publish, allow_deletes=request.allow_deletes)
                return DoneReply()
            found = await self._service.recover(request.order, request.is_dry_run, feed.publish)
            return RecoveredReply(found) if isinstance(found, str) else RecoveredReply(survey=found)

        feed.finish(await outcome_of(work))


async def outcome_of(operation: Callable[[], Awaitable[_T]]) -> _T | ErrorReply:
    """The operation's reply, or its failure as one. What was not raised on purpose is logged in full."""
    try:
        return await operation()
    except TwinfsError as error:
        return ErrorReply(message=readable(str(error)), exit_code=error.exit_code)
    except Exception as error:  # noqa: BLE001  as said below
        # The boundary of a request: a bug in one must not end the volume that people work on.
        _log.exception("a control request failed")
        return ErrorReply(message=f"internal error: {type(error).__name__}: {readable(str(error))}")


def _sender(stream: trio.SocketStream) -> Callable[[Reply], Awaitable[None]]:
    order = trio.Lock()

    async def send(reply: Reply) -> None:
        async with order:
            await stream.send_all(protocol.encode(reply))

    return send


class _LineTooLongError(Exception):
    """A client sent no newline for longer than any request is."""


class _Lines:
    """Splits a stream into lines; None at its end. A last line without newline is dropped."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def next(self) -> bytes | None:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > protocol.MAX_LINE_BYTES:
                raise _LineTooLongError
            chunk = await self._stream.receive_some(4096)
            if not chunk:
                return None
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    async def wait_for_hangup(self) -> None:
        """What comes meanwhile is kept for `next`."""
        while chunk := await self._stream.receive_some(4096):
            if len(self._buffer) > protocol.MAX_LINE_BYTES:
                return
            self._buffer += chunk
