"""A FUSE layer over a plain directory that fails on demand, for a leg to live under.

    with FaultLayer(directory, mountpoint) as layer:
        layer.fail("write", errno="EIO", path="photos/*", after=3)
        rule = layer.hang("*")
        rule.wait_until_hit()
        rule.remove()                 # lets go of what hangs

What is written through `mountpoint` stands in `directory`. syncfs(2) does not pass: the kernel asks only
fsync and fsyncdir of a FUSE file system.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from support.faultfs.rules import CHANGING, DURABLE, EVERYTHING, Rule, values_of
from support.machine import is_mounted, run
from support.volume import wait_until

__all__ = ["CHANGING", "DURABLE", "EVERYTHING", "ActiveRule", "FaultLayer", "Rule"]


RUNNING: list[FaultLayer] = []
"""For the watchdog: a layer that answers nothing hangs the test itself, unkillably."""


class ActiveRule:
    """A rule that a layer follows, until it is removed."""

    def __init__(self, layer: FaultLayer, number: int) -> None:
        self._layer = layer
        self._number = number

    def remove(self) -> None:
        self._layer.ask(do="remove", number=self._number)

    @property
    def hits(self) -> int:
        """How many requests it met."""
        return int(self._layer.ask(do="counts", number=self._number)["hits"])

    @property
    def waiting(self) -> int:
        """How many requests hang in it now."""
        return int(self._layer.ask(do="counts", number=self._number)["waiting"])

    def wait_until_hit(self, timeout: float = 30) -> None:
        wait_until(lambda: self.hits > 0, timeout, "the fault's rule met no request")


class FaultLayer:
    """One layer in a process of its own. `kill` and `start` again is a disk that falls off and comes back."""

    def __init__(self, directory: Path, mountpoint: Path) -> None:
        self.directory, self.path = directory, mountpoint
        self._socket_path = mountpoint.with_name(mountpoint.name + ".sock")
        self._errors = mountpoint.with_name(mountpoint.name + ".stderr")
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        for each in (directory, mountpoint):
            each.mkdir(parents=True, exist_ok=True)

    def start(self) -> FaultLayer:
        self._socket_path.unlink(missing_ok=True)
        words = (self.directory, self.path, self._socket_path)
        with open(self._errors, "ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.faultfs.server", *map(str, words)],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        wait_until(lambda: self._answers() or not self.is_running, 60, "the fault layer does not start")
        assert self.is_running, self._errors.read_text()
        RUNNING.append(self)
        return self

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _answers(self) -> bool:
        """Listening is not enough: the directory beneath must not be taken for the layer."""
        if not is_mounted(self.path):
            return False
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(self._socket_path))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return False
        connection.settimeout(60)
        self._connection = connection
        return True

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request of the socket's protocol (support/faultfs/server.py) and its answer."""
        assert self._connection is not None, "the fault layer does not run"
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            chunk = self._connection.recv(1 << 16)
            assert chunk, f"the fault layer ended: {self._errors.read_text()}"
            answer += chunk
        found: dict[str, Any] = json.loads(answer)
        assert "error" not in found, found
        return found

    # Faults

    def add(self, rule: Rule) -> ActiveRule:
        return ActiveRule(self, self.ask(do="add", rule=values_of(rule))["number"])

    def fail(self, *operations: str, errno: str = "EIO", **more: Any) -> ActiveRule:
        """`operations` are answered with an error; `more` are fields of Rule."""
        return self.add(Rule(operations, errno=errno, **more))

    def hang(self, *operations: str, **more: Any) -> ActiveRule:
        """`operations` are not answered until the rule is removed."""
        return self.add(Rule(operations, is_hanging=True, **more))

    def clear(self) -> None:
        """No faults any more; what hung is answered."""
        self.ask(do="clear")

    def freeze(self) -> None:
        """SIGSTOP: nothing at all is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """The disk is gone: ENOTCONN for everybody who has it open, an empty directory at its path."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self in RUNNING:
            RUNNING.remove(self)
        if self._process is not None:
            # Ends a frozen one, too, and everything that hangs in it: the kernel aborts the connection.
            self._process.kill()
            self._process.wait()
            self._process = None
        while is_mounted(self.path):
            run("umount", "-l", self.path)

    take_out = kill  # as a disk's

    def __enter__(self) -> FaultLayer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
