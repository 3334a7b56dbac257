"""The asking side of the control socket: plain blocking sockets, so that commands start without trio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType

import msgspec

from twinfs.daemon import protocol
from twinfs.daemon.errand import Errand
from twinfs.daemon.names import check_name
from twinfs.daemon.paths import Paths
from twinfs.daemon.protocol import (
    DoneReply,
    ErrorReply,
    ProgressReply,
    RecoveredReply,
    Reply,
    Request,
    StatusReply,
)
from twinfs.errors import ControlError, NotMountedError
from twinfs.fsio import unix_socket
from twinfs.model import ChannelTest, Mismatch, Order, Progress, ScrubRun, Survey, VolumeStatus

_PATIENCE_SECONDS = 15.0


class RemoteError(ControlError):
    """A failure the daemon told of, with the exit code it chose."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ControlClient:
    """One connection to a volume's daemon, as a context manager.

    Raises NotMountedError when none listens, ControlError when it does not answer in time or
    answers nonsense, UsageError for what cannot be a volume's name. With an `errand` that is on its way,
    the connection is its, and the first request has been sent.
    """

    def __init__(self, paths: Paths, name: str, errand: Errand | None = None) -> None:
        self._name = check_name(name)
        self._is_asked = errand is not None
        if errand is not None:
            self._socket, self._buffer = errand.socket, bytearray(errand.heard)
            self._socket.settimeout(_PATIENCE_SECONDS)
            return
        try:
            self._socket = unix_socket.connect(paths.socket(name), _PATIENCE_SECONDS)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            raise NotMountedError(f"volume {name} is not mounted; mount it: twinfs mount {name}") from None
        except OSError as error:
            raise ControlError(f"{paths.socket(name)}: {error.strerror or 'does not answer'}") from None
        self._buffer = bytearray()

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def status(self) -> VolumeStatus:
        self._send(protocol.StatusRequest())
        reply = self._receive()
        if not isinstance(reply, StatusReply):
            raise ControlError(f"volume {self._name}: unexpected answer to status: {reply}")
        return reply.to_status()

    def legs(self) -> protocol.LegsReply:
        """The legs as the daemon has them open."""
        self._send(protocol.LegsRequest())
        reply = self._receive()
        if not isinstance(reply, protocol.LegsReply):
            raise ControlError(f"volume {self._name}: unexpected answer to legs: {reply}")
        return reply

    def test_events(self) -> tuple[ChannelTest, ...]:
        """Waits for as long as the daemon's hook does."""
        self._send(protocol.TestEventsRequest())
        reply = self._receive(on_silence=lambda: None)
        if not isinstance(reply, protocol.TestedReply):
            raise ControlError(f"volume {self._name}: unexpected answer to test_events: {reply}")
        return reply.channels

    def request(self, request: Request) -> None:
        """Send a request whose answer is only that it was done."""
        for _ in self.stream(request):
            pass

    def stream(self, request: Request) -> Iterator[Progress]:
        """Progress until the request is done. Raises RemoteError when the daemon says so."""
        self._send(request)
        return self._progress(on_silence=lambda: None)

    def scrub(
        self,
        request: protocol.ScrubRequest,
        on_progress: Callable[[Progress], None],
        on_mismatch: Callable[[Mismatch], None],
    ) -> ScrubRun:
        """Until it is finished. Closing the connection interrupts it."""
        self._send(request)
        while True:
            # A large file may take an hour; only the connection's end is a failure.
            reply = self._receive(on_silence=lambda: None)
            match reply:
                case ProgressReply():
                    on_progress(reply.to_progress())
                case protocol.MismatchReply():
                    on_mismatch(reply.to_mismatch())
                case protocol.ScrubbedReply(run):
                    return run
                case _:
                    raise ControlError(f"volume {self._name}: unexpected answer to scrub: {reply}")

    def recover(
        self, order: Order, *, is_dry_run: bool, on_progress: Callable[[Progress], None]
    ) -> str | Survey:
        """What to tell the user, or what it would do. RemoteError: what kept the daemon from it."""
        self._send(protocol.RecoverRequest(order, is_dry_run))
        while not isinstance(reply := self._receive(on_silence=lambda: None), RecoveredReply):
            if isinstance(reply, ProgressReply):
                on_progress(reply.to_progress())
        return reply.message if reply.survey is None else reply.survey

    def wait_for_end(self, on_silence: Callable[[], None]) -> Iterator[Progress]:
        """Ask to be told of the daemon's end. The request is noted when this returns; iterate afterwards.

        `on_silence` is called whenever nothing was heard for a while; it may raise to stop waiting.
        """
        self._send(protocol.WaitRequest())
        reply = self._receive()
        if not isinstance(reply, protocol.WaitingReply):
            raise ControlError(f"volume {self._name}: unexpected answer to wait: {reply}")
        return self._progress(on_silence)

    def _progress(self, on_silence: Callable[[], None]) -> Iterator[Progress]:
        """A drain may take a night between two files; only the connection's end is a failure."""
        while not isinstance(reply := self._receive(on_silence), DoneReply):
            if isinstance(reply, ProgressReply):
                yield reply.to_progress()

    def _send(self, request: Request) -> None:
        if self._is_asked:
            self._is_asked = False
            return
        try:
            self._socket.sendall(protocol.encode(request))
        except OSError as error:
            raise self._lost(error) from None

    def _receive(self, on_silence: Callable[[], None] | None = None) -> Reply:
        try:
            reply = protocol.decode_reply(self._line(on_silence))
        except (OSError, msgspec.DecodeError) as error:
            raise self._lost(error) from None
        if isinstance(reply, ErrorReply):
            raise RemoteError(reply.message, reply.exit_code)
        return reply

    def _line(self, on_silence: Callable[[], None] | None) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            try:
                chunk = self._socket.recv(1 << 16)
            except TimeoutError:
                if on_silence is None:
                    raise
                on_silence()
                continue
            if not chunk:
                raise self._lost(None)
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _lost(self, error: Exception | None) -> ControlError:
        if isinstance(error, TimeoutError):
            reason = f"has not answered for {_PATIENCE_SECONDS:.0f} s"
        elif error is None or isinstance(error, ConnectionError):
            reason = "ended before it answered; see its log and: twinfs events " + self._name
        else:
            reason = f"cannot be understood: {error}"
        return ControlError(f"the daemon of volume {self._name} {reason}")
