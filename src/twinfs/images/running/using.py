"""One snapshot, for as long as a command or a mount takes."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Final

from twinfs.errors import ImageError, UsageError
from twinfs.fsio.qemu_lock import is_written_by_qemu
from twinfs.images.running import address, graph, leftovers, room, server, snapshot
from twinfs.images.running.address import RunningDisk
from twinfs.images.running.monitor import Monitor, MonitorClosedError, MonitorError
from twinfs.images.sources.nbd import CONNECT_SECONDS, Export, NbdSource

_log: Final = logging.getLogger(__name__)


@contextlib.contextmanager
def opened(image: str, run_directory: Path) -> Iterator[Export | None]:
    """A snapshot of what `qmp:` names, or None for an image that can be read as it is.

    Raises ImageError where a running machine writes to the image; the message names the way to look into it.
    """
    disk = address.parse(image, run_directory)
    if disk is None:
        refuse_running(image, run_directory)
        yield None
        return
    with _signals_raise(), Held(disk) as held:
        yield held.export


def refuse_running(image: str, run_directory: Path) -> None:
    """Raises ImageError."""
    if not is_written_by_qemu(image):
        return
    name = address.machine_with(image, run_directory)
    way = f"qmp:{name}" if name is not None else "qmp:SOCKET"
    hint = (
        "" if name is not None else "\n  SOCKET is the machine's monitor: -qmp unix:SOCKET,server=on,wait=off"
    )
    raise ImageError(
        f"{image} is the disk of a running machine: it would be read while it changes\n"
        f"  look at it as it is now: twinfs image mount {way} MOUNTPOINT (or image ls, cat...){hint}"
    )


def refuse_overlay(image: str) -> None:
    """An overlay fits one content only, and a machine's disk has another the next time. Raises UsageError."""
    if image.startswith(address.PREFIX):
        raise UsageError(
            "--overlay goes with an image that stays the same, not with a machine that runs\n"
            f"  without it the disk can be looked at: twinfs image mount {image} MOUNTPOINT"
        )


class Held:
    """A snapshot and the connection by which it is known to be in use. A context manager."""

    def __init__(self, disk: RunningDisk) -> None:
        """Raises ImageError."""
        self._disk = disk
        self._ending = threading.Lock()
        self._has_ended = False
        with _named(disk), Monitor(disk.monitor) as monitor:
            leftovers.clean(monitor, disk.server)
            drive = snapshot.find_drive(monitor, disk.drive)
            self._room: IO[bytes] = room.make(drive.size_bytes)
            try:
                self._names = snapshot.insert(monitor, drive, self._room.fileno())
                try:
                    self._keeper = self._connect(monitor)
                except BaseException:
                    self._take_out(monitor)
                    raise
            except BaseException:
                self._room.close()
                raise

    def _connect(self, monitor: Monitor) -> socket.socket:
        server.ensure(monitor, self._disk.server)
        server.export(monitor, self._names)
        self.export = Export(self._disk.server, self._names.export)
        channel = self.export.connect()
        try:
            channel.settimeout(CONNECT_SECONDS)
            NbdSource(channel, self.export.name)
        except BaseException:
            channel.close()
            raise
        return channel

    def __enter__(self) -> Held:
        self._watch = room.Watch(self._room.fileno(), self._give_up).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.__exit__()
        self._end()

    def _give_up(self) -> None:
        _log.warning("%s: the disk with its file is nearly full; the snapshot is given up", self._disk.shown)
        self._end()

    def _end(self) -> None:
        """Once. Whatever fails, the next snapshot of this machine cleans up."""
        with self._ending:
            if self._has_ended:
                return
            self._has_ended = True
            self._keeper.close()
            try:
                with Monitor(self._disk.monitor) as monitor:
                    self._take_out(monitor)
            except MonitorClosedError:
                server.forget(self._disk.server)
            except MonitorError as error:
                _log.warning("%s: the snapshot is still there: %s", self._disk.shown, error)
            self._room.close()

    def _take_out(self, monitor: Monitor) -> None:
        server.withdraw(monitor, self._names.ident, is_forced=True)
        snapshot.remove(monitor, graph.Names(self._names.ident))
        server.stop_if_unused(monitor, self._disk.server)


@contextlib.contextmanager
def _named(disk: RunningDisk) -> Iterator[None]:
    """Every message says of which machine it speaks."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{disk.shown}: {error}") from error


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """A snapshot is taken out also when we are asked to end; SIGINT raises by itself."""

    def handle(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
