"""QEMU's monitor: JSON lines over a Unix socket (docs/interop/qmp-spec.txt of QEMU)."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType

import msgspec

from twinfs.report.json_lines import Json
from twinfs_qemu.errors import QemuError
from twinfs_qemu.machine.sockets import connect

_SECONDS = 30.0


class MonitorClosed(QemuError):
    """QEMU has ended, or is ending."""


class Monitor:
    """One at a time: QEMU answers a second connection only when the first has closed."""

    def __init__(self, path: Path, timeout: float = _SECONDS) -> None:
        try:
            self._socket = connect(path, timeout)
        except OSError as error:
            raise MonitorClosed(f"the monitor {path} does not answer: {error.strerror or error}") from error
        self._rest = b""
        try:
            self._read()
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

    def ask(self, command: str, **arguments: Json) -> Json:
        """What it returns; events on the way are dropped. Raises QemuError with QEMU's words."""
        names: dict[str, Json] = {key.replace("_", "-"): value for key, value in arguments.items()}
        request = msgspec.json.encode({"execute": command, "arguments": names})
        try:
            self._socket.sendall(request + b"\n")
        except OSError as error:
            raise MonitorClosed(f"{command}: {error.strerror}") from error
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            answer = self._read()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                failure = answer["error"]
                words = failure.get("desc") if isinstance(failure, dict) else failure
                raise QemuError(f"{command}: {words}")
        raise QemuError(f"{command}: QEMU did not answer within {_SECONDS:.0f} s")

    def _read(self) -> dict[str, Json]:
        while b"\n" not in self._rest:
            try:
                got = self._socket.recv(65536)
            except TimeoutError:
                raise QemuError("the monitor does not answer; is another program using it?") from None
            except OSError as error:
                raise MonitorClosed(f"the monitor has closed: {error.strerror}") from error
            if not got:
                raise MonitorClosed("the monitor has closed")
            self._rest += got
        line, _, self._rest = self._rest.partition(b"\n")
        return msgspec.json.decode(line, type=dict)
