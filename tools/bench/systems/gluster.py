"""GlusterFS, replica 2, both bricks on this machine, in a network namespace of its own.

Nothing of an installation's own is used: glusterd has a working directory in the scratch space and a port
that nobody outside the namespace reaches; every process in the namespace is ended by its id.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tools.bench.errors import BenchError
from tools.bench.mounts import run, unmount
from tools.bench.space import Place
from tools.bench.systems.base import without
from tools.bench.systems.mounted import Mounted

_ADDRESS = "10.111.0.1"  # glusterd takes no loopback address for a brick
_VOLUME = "bench"
_START_SECONDS = 60

_SETTINGS = """volume management
    type mgmt/glusterd
    option working-directory {state}/work
    option run-directory {state}/run
    option glusterd-sockfile {socket}
    option transport-type socket
    option transport.address-family inet
    option transport.socket.bind-address {address}
    option transport.socket.listen-port 24007
end-volume
"""


# What it writes wherever it is told otherwise: sockets, logs of bricks. Nobody else sees these.
_PRIVATE = """
mount -t tmpfs none /run && mount -t tmpfs none /var/log && mkdir /run/gluster /var/log/glusterfs && exec "$@"
"""


class GlusterReplica2(Mounted):
    """With the options that a new volume has by itself."""

    name = "glusterfs"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._namespace = f"twinfs-bench-{os.getpid()}"
        self._glusterd: subprocess.Popen[bytes] | None = None
        self._has_namespace = False
        self._socket = Path()

    @classmethod
    def missing(cls) -> str | None:
        return without("glusterd", "glusterfs-server", is_for_root=True)

    def start(self) -> None:
        if self._glusterd is None:
            self._start_server()
        self.serve(
            *self._inside("glusterfs", "--no-daemon", f"--volfile-server={_ADDRESS}"),
            f"--volfile-id={_VOLUME}",
            f"--log-file={self.place.state}/client.log",
            self.place.mountpoint,
        )
        # Mounted is before connected to both bricks.
        self._wait_for(lambda: bool(os.stat(self.place.mountpoint)), "its volume does not answer")

    def _inside(self, *words: str | Path) -> tuple[str | Path, ...]:
        """Only the network is another: a mount that is made there is ours, too."""
        return ("nsenter", f"--net=/run/netns/{self._namespace}", *words)

    def _start_server(self) -> None:
        state = self.place.state
        run("ip", "netns", "add", self._namespace)
        self._has_namespace = True
        # The scratch space may be deeper than a socket's path can be, see unix(7).
        self._socket = Path(tempfile.mkdtemp(prefix="twinfs-bench-")) / "glusterd"
        run("ip", "-n", self._namespace, "link", "set", "lo", "up")
        run("ip", "-n", self._namespace, "addr", "add", f"{_ADDRESS}/32", "dev", "lo")
        settings = state / "glusterd.vol"
        settings.write_text(_SETTINGS.format(state=state, socket=self._socket, address=_ADDRESS))
        for name in ("work", "run", "logs"):
            (state / name).mkdir(exist_ok=True)
        glusterd = ("glusterd", "--no-daemon", "-f", settings, f"--log-file={state}/logs/glusterd.log")
        with (state / "glusterd.out").open("wb") as output:
            self._glusterd = subprocess.Popen(
                (*self._inside("unshare", "--mount", "sh", "-c", _PRIVATE, "sh"), *glusterd),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._wait_for(
            lambda: "Number of Peers" in self._gluster("peer", "status"), "glusterd does not answer"
        )
        if any(self.place.primary.iterdir()):
            run("cp", "-a", f"{self.place.primary}/.", self.place.secondary)
        bricks = (f"{_ADDRESS}:{brick}" for brick in (self.place.primary, self.place.secondary))
        self._gluster("volume", "create", _VOLUME, "replica", "2", *bricks, "force")
        self._gluster("volume", "start", _VOLUME)

    def _gluster(self, *words: str) -> str:
        options = (f"--glusterd-sock={self._socket}", f"--log-file={self.place.state}/logs/cli.log")
        return run(*self._inside("gluster", "--mode=script", *options, *words))

    def _wait_for(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                if is_so():
                    return
            except (BenchError, OSError) as error:
                if time.monotonic() > deadline:
                    raise BenchError(f"{what}: {error}") from error
            if time.monotonic() > deadline:
                raise BenchError(what)
            time.sleep(0.2)

    def stop(self) -> None:
        """The client alone; glusterd and its bricks stay for the next `start`."""
        if self._server is None:
            return
        unmount(self.place.mountpoint)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._server.wait(_START_SECONDS)
        super().abandon()

    def abandon(self) -> None:
        super().abandon()
        if not self._has_namespace:
            return
        # Bricks and self-heal daemon are no children of glusterd's any more; the namespace knows them all.
        deadline = time.monotonic() + _START_SECONDS
        while pids := run("ip", "netns", "pids", self._namespace).split():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            if time.monotonic() > deadline:
                raise BenchError(f"processes {' '.join(pids)} of GlusterFS do not end")
            if self._glusterd is not None:
                self._glusterd.poll()
            time.sleep(0.1)
        self._glusterd = None
        shutil.rmtree(self._socket.parent)
        run("ip", "netns", "delete", self._namespace)
        self._has_namespace = False
