"""The reading process as seen by who started it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Final

import trio

from twinfs.errors import ScrubError
from twinfs.scrub.messages import Finished, Frames, GiveWay, Order, Position, frame, from_worker

_MODULE: Final = "twinfs.scrub.worker"
_PATIENCE_SECONDS: Final = 5.0


class Reader:
    """Started, listened to, and killed in the end: it only reads, so it may be killed at any time."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._channel: trio.SocketStream | None = None

    async def run(self, on_position: Callable[[Position], None]) -> None:
        """Until all was read. ScrubError when it fails."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            process = await self._start(theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        try:
            async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as channel:
                await channel.send_all(frame(self._order))
                self._channel = channel
                await self._listen(channel, on_position)
        finally:
            self._channel = None
            process.kill()
            # One that waits for a disk that hangs ends when that answers; the volume does not wait for it.
            with trio.move_on_after(_PATIENCE_SECONDS, shield=True):
                await process.wait()

    async def _start(self, theirs: socket.socket) -> trio.Process:
        try:
            return await trio.lowlevel.open_process(
                [sys.executable, "-m", _MODULE, str(theirs.fileno())],
                pass_fds=(theirs.fileno(), self._order.primary_fd, self._order.secondary_fd),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_environment(),
            )
        except OSError as error:
            raise ScrubError(
                f"{sys.executable}: the scrub's reading process does not start: {error}"
            ) from error

    async def _listen(self, channel: trio.SocketStream, on_position: Callable[[Position], None]) -> None:
        frames = Frames()
        try:
            async for data in channel:
                for payload in frames.feed(bytes(data)):
                    message = from_worker(payload)
                    if isinstance(message, Position):
                        on_position(message)
                    elif isinstance(message, Finished):
                        if message.error:
                            raise ScrubError(f"the scrub's reading process failed: {message.error}")
                        return
        except trio.BrokenResourceError:
            pass  # told below
        raise ScrubError("the scrub's reading process ended before it had read everything")

    async def give_way(self, is_busy: bool) -> None:
        """Tell it whether people work on the volume."""
        if self._channel is not None:
            try:
                await self._channel.send_all(frame(GiveWay(is_busy)))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # it has just ended


def _environment() -> dict[str, str]:
    """As ours; where twinfs itself was imported from, it is found there, too."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
