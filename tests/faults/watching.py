"""What a volume's daemon says, asked without starting a command for each look."""

from __future__ import annotations

from collections.abc import Callable

from support.volume import Volume, wait_until
from twinfs.daemon.client import ControlClient
from twinfs.daemon.events import EventLog
from twinfs.daemon.paths import Paths
from twinfs.model import Event, VolumeState, VolumeStatus

BACK_SECONDS = 25
"""A leg that failed is looked at every ten seconds; the machine may be busy."""


def _paths(volume: Volume) -> Paths:
    return Paths(volume.base / "config", volume.base / "state", volume.run_dir)


def status_of(volume: Volume) -> VolumeStatus:
    with ControlClient(_paths(volume), volume.name) as client:
        return client.status()


def events_of(volume: Volume, *kinds: str) -> list[Event]:
    """All, or those of some kinds, in order."""
    log = EventLog(_paths(volume).events_file(volume.name), volume.name)
    return [event for event in log.read() if not kinds or event.kind in kinds]


def count_of(volume: Volume, *kinds: str) -> int:
    return len(events_of(volume, *kinds))


def wait_for_state(volume: Volume, state: VolumeState, timeout: float = BACK_SECONDS) -> VolumeStatus:
    """Its status in that state. Tells the events when it does not come."""
    last: list[VolumeStatus] = []

    def is_there() -> bool:
        last[:] = [status_of(volume)]
        return last[0].state is state

    try:
        wait_until(is_there, timeout, "")
    except AssertionError:
        told = "\n".join(f"{event.kind}: {event.message}" for event in events_of(volume)[-10:])
        raise AssertionError(f"not {state} within {timeout} s, but {last}\n{told}") from None
    return last[0]


def wait_for(condition: Callable[[], object], complaint: str, timeout: float = BACK_SECONDS) -> None:
    wait_until(condition, timeout, complaint)


def log_bytes(volume: Volume) -> int:
    """The size of the intent log."""
    return (volume.state / "intent.log").stat().st_size
