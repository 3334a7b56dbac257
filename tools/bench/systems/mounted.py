"""A system that a process of ours serves in the foreground: it is known by its id, and surely ended."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from tools.bench.errors import BenchError
from tools.bench.mounts import unmount
from tools.bench.space import Place
from tools.bench.systems.base import System

_MOUNT_SECONDS = 120
# A batched volume drains before its daemon ends.
_END_SECONDS = 600


class Mounted(System):
    """Subclasses' `start` calls `serve`."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        return self.place.mountpoint

    @property
    def daemon_pid(self) -> int | None:
        return None if self._server is None else self._server.pid

    def serve(self, *words: str | Path, env: dict[str, str] | None = None) -> None:
        """Start the process; return when its mount answers."""
        log = self.place.state / "server.log"
        with log.open("wb") as output:
            self._server = subprocess.Popen(
                words,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A Ctrl-C is for the bench, which ends its servers in order.
                start_new_session=True,
            )
        deadline = time.monotonic() + _MOUNT_SECONDS
        while not os.path.ismount(self.place.mountpoint):
            if self._server.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace").strip()[-1000:]
                raise BenchError(f"{Path(words[0]).name} did not mount: {said}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Unmount and wait for the process's own end."""
        if self._server is None:
            return
        unmount(self.place.mountpoint)
        try:
            code = self._server.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            raise BenchError(f"process {self._server.pid} did not end after its unmount") from None
        self._server = None
        if code != 0:
            raise BenchError(f"{self.name}: the process ended with {code} after its unmount")

    def abandon(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None
