"""Starts QEMU and waits until its monitor answers."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass

from twinfs.images.running.monitor import Monitor, MonitorError
from twinfs_qemu.errors import QemuError, RefusedError
from twinfs_qemu.formats import is_lock_message
from twinfs_qemu.machine import state
from twinfs_qemu.machine.arguments import arguments
from twinfs_qemu.machine.settings import Settings
from twinfs_qemu.machine.share import Share
from twinfs_qemu.machine.state import Description, Place
from twinfs_qemu.programs import program

_SECONDS = 60.0


@dataclass(slots=True)
class Machine:
    """A QEMU that runs, and the process that shares a directory with it."""

    place: Place
    process: subprocess.Popen[bytes]
    share: Share | None


def start(settings: Settings, place: Place, lock_fd: int, *, is_detached: bool) -> Machine:
    """Raises QemuError with QEMU's own words, RefusedError where the image is in use."""
    share = (
        Share.start(settings.share, place, is_detached=is_detached) if settings.share is not None else None
    )
    words = arguments(settings, place, share_kind=share.kind if share is not None else None)
    try:
        process = _spawn(
            [program(f"qemu-system-{settings.arch}"), *words], place, lock_fd, is_detached=is_detached
        )
    except BaseException:
        if share is not None:
            share.stop()
        raise
    machine = Machine(place, process, share)
    try:
        _wait_for_monitor(machine, settings)
        state.write(place, _describe(settings, process.pid))
    except BaseException:
        end(machine)
        raise
    return machine


def end(machine: Machine) -> None:
    """By SIGTERM, at which QEMU writes out what it holds of the disk; it is there no more on return."""
    if machine.process.poll() is None:
        machine.process.terminate()
        try:
            machine.process.wait(20)
        except subprocess.TimeoutExpired:
            machine.process.kill()
            machine.process.wait()
    if machine.share is not None:
        machine.share.stop()


def _spawn(words: list[str], place: Place, lock_fd: int, *, is_detached: bool) -> subprocess.Popen[bytes]:
    """In the foreground it ends with us, however we end; detached it is nobody's child."""
    if not is_detached:
        words = [program("setpriv"), "--pdeathsig", "TERM", "--", *words]
    with place.errors.open("wb") as errors:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            pass_fds=(lock_fd,),
            # Ctrl-C is for the helper, or for the guest.
            start_new_session=True,
            env={**os.environ, "LC_ALL": "C"},
        )


def _wait_for_monitor(machine: Machine, settings: Settings) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        if machine.process.poll() is not None:
            raise _failure(machine.place, settings)
        if machine.place.monitor.exists():
            try:
                with Monitor(machine.place.monitor):
                    return
            except MonitorError:
                # Made, but not listening yet; or it is just ending, which the next look tells.
                pass
        time.sleep(0.02)
    raise QemuError(f"QEMU does not answer: {_words(machine.place)}")


def _failure(place: Place, settings: Settings) -> QemuError | RefusedError:
    words = _words(place)
    if is_lock_message(words):
        return RefusedError(
            f"{settings.disk.path} is in use by another running machine or program;"
            " two at once would destroy it\n"
            "  which: twinfs-qemu list. End that one, or convert the image when it has ended and run the copy"
        )
    if settings.net not in ("user", "none") and ("could not configure" in words or "/dev/net/tun" in words):
        return QemuError(
            f"--net {settings.net}: {words}\n"
            f"  is it up (twinfs-qemu net status), yours, and not used by another machine?"
        )
    return QemuError(f"QEMU ended at once: {words}")


def _words(place: Place) -> str:
    return place.errors.read_text(errors="replace").strip()[-2000:] or "it said nothing"


def _describe(settings: Settings, pid: int) -> Description:
    return Description(
        name=settings.name,
        pid=pid,
        disk=str(settings.disk.path),
        arch=settings.arch,
        accelerator=settings.accelerator.name,
        memory=settings.memory,
        cpus=settings.cpus,
        net=settings.net,
        is_snapshot=settings.is_snapshot,
        forwards=tuple(map(str, settings.forwards)),
        started_at=time.time(),
    )
