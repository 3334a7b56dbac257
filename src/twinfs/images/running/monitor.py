"""QEMU's monitor: JSON lines over a Unix socket (docs/interop/qmp-spec.txt of QEMU)."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import msgspec

from twinfs.errors import ImageError
from twinfs.fsio import unix_socket

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
_SECONDS = 60.0


class MonitorError(ImageError):
    """QEMU does not answer, or refused; the message has its words."""


class MonitorClosedError(MonitorError):
    """QEMU has ended, or is ending."""


class Monitor:
    """One at a time: QEMU answers a second connection only when the first has closed.

    So whoever has one open is alone with the machine.
    """

    def __init__(self, path: Path, timeout: float = _SECONDS) -> None:
        try:
            self._socket = unix_socket.connect(path, timeout)
        except OSError as error:
            reason = error.strerror or error
            raise MonitorClosedError(f"the monitor {path} does not answer: {reason}") from error
        self._rest = b""
        self._last = 0
        try:
            self._greeting = self._read()
            self.ask("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    @property
    def version(self) -> tuple[int, int]:
        """QEMU's, such as (7, 2); (0, 0) where it does not say."""
        try:
            found = msgspec.convert(self._greeting, _Greeting).QMP.version.qemu
        except msgspec.ValidationError:
            return 0, 0
        return found.major, found.minor

    def ask(self, command: str, *, handed: int | None = None, **arguments: Json) -> Json:
        """What it returns; events on the way are dropped. `handed` is a descriptor that goes with it.

        Raises MonitorError with QEMU's words.
        """
        names: dict[str, Json] = {key.replace("_", "-"): value for key, value in arguments.items()}
        self._last += 1
        request = msgspec.json.encode({"execute": command, "arguments": names, "id": self._last}) + b"\n"
        try:
            if handed is None:
                self._socket.sendall(request)
            else:
                socket.send_fds(self._socket, [request], [handed])
        except OSError as error:
            raise MonitorClosedError(f"{command}: {error.strerror}") from error
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            answer = self._read()
            # An answer that comes after its question was given up belongs to no other.
            if answer.get("id") != self._last:
                continue
            if "return" in answer:
                return answer["return"]
            failure = answer.get("error")
            words = failure.get("desc") if isinstance(failure, dict) else failure
            raise MonitorError(f"{command}: {words}")
        raise MonitorError(f"{command}: QEMU did not answer within {_SECONDS:.0f} s")

    def _read(self) -> dict[str, Json]:
        while b"\n" not in self._rest:
            try:
                got = self._socket.recv(65536)
            except TimeoutError:
                raise MonitorError("the monitor does not answer; is another program using it?") from None
            except OSError as error:
                raise MonitorClosedError(f"the monitor has closed: {error.strerror}") from error
            if not got:
                raise MonitorClosedError("the monitor has closed")
            self._rest += got
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            return msgspec.json.decode(line, type=dict)
        except msgspec.DecodeError:
            raise MonitorError("the socket is no monitor of QEMU's") from None


class _Numbers(msgspec.Struct):
    major: int
    minor: int


class _Version(msgspec.Struct):
    qemu: _Numbers


class _Hello(msgspec.Struct):
    version: _Version


class _Greeting(msgspec.Struct):
    QMP: _Hello
