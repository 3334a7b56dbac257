"""`twinfs-qemu list`, `stop` and `console`."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from twinfs.cli.talk import result, say
from twinfs.images.running import leftovers
from twinfs.images.running.monitor import Monitor, MonitorClosedError, MonitorError
from twinfs.report import human, json_lines
from twinfs_qemu.errors import QemuError
from twinfs_qemu.machine import state
from twinfs_qemu.machine.state import Description, Place
from twinfs_qemu.machine.terminal import attach
from twinfs_qemu.parameters import Json, MachineName, run_directory

_QUIT_SECONDS = 20.0


def list_machines(*, json: Json = False) -> int:
    """List the machines that run; clean up what killed ones have left.

    For example:

        twinfs-qemu list
    """
    for place, description in state.running(run_directory()):
        _clean_snapshots(place)
        result(_json(description) if json else _text(description))
    return 0


def _clean_snapshots(place: Place) -> None:
    """Those of its disk whose mounts were killed."""
    try:
        leftovers.clean_machine(place.monitor, place.snapshots)
    except MonitorError as error:
        say(f"{place.name}: {error}")


def _text(machine: Description) -> str:
    words = [machine.name, machine.accelerator, machine.memory, human.count(machine.cpus, "cpu")]
    words += [f"net {machine.net}", *(f"port {forward}" for forward in machine.forwards)]
    words += [f"since {human.moment(machine.started_at, time.time())}", f"pid {machine.pid}", machine.disk]
    if machine.is_snapshot:
        words.append("(snapshot)")
    return "  ".join(words)


def _json(machine: Description) -> str:
    return json_lines.line(
        {
            "type": "machine",
            "name": machine.name,
            "pid": machine.pid,
            "disk": machine.disk,
            "arch": machine.arch,
            "accelerator": machine.accelerator,
            "memory": machine.memory,
            "cpus": machine.cpus,
            "net": machine.net,
            "forwards": list(machine.forwards),
            "is_snapshot": machine.is_snapshot,
            "started_at": machine.started_at,
        }
    )


def stop(
    name: MachineName,
    /,
    *,
    timeout: Annotated[
        float,
        Parameter(help="Seconds that the guest has to shut down (60).", validator=Number(gte=0)),
    ] = 60.0,
) -> int:
    """Shut a machine down as its power button would; switch it off if it does not listen.

    For example:

        twinfs-qemu stop box
    """
    place, description = state.find(run_directory(), name)
    _ask(place, "system_powerdown")
    if state.wait_until_ended(place, timeout):
        say(f"{name}: shut down")
        return 0
    # Its programs lose what they have not written; QEMU itself writes out what it holds.
    _ask(place, "quit")
    if state.wait_until_ended(place, _QUIT_SECONDS):
        say(f"{name}: did not shut down within {timeout:g} s; switched off")
        return 0
    os.kill(description.pid, signal.SIGKILL)
    if not state.wait_until_ended(place, _QUIT_SECONDS):
        raise QemuError(f"{name}: process {description.pid} does not end; a disk that does not answer?")
    say(f"{name}: did not answer; killed")
    return 0


def _ask(place: Place, command: str) -> None:
    try:
        with Monitor(place.monitor) as monitor:
            monitor.ask(command)
    except MonitorClosedError:
        # It is ending by itself.
        pass
    except MonitorError as error:
        say(f"{place.name}: {error}")


def console(name: MachineName, /) -> int:
    """Talk to a machine's serial console; Ctrl-] leaves it.

    For example:

        twinfs-qemu console box
    """
    place, _ = state.find(run_directory(), name)
    if attach(place) and sys.stdin.isatty():
        say(f"{name}: has ended")
    return 0
