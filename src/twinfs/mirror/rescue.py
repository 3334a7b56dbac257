"""The ways back, each one order: resync, rebuild, replace, promote, detach, attach.

All of them go through what there is: labels say how the legs stand, the intent log what is to be done,
and a drain does it. So whatever is interrupted goes on with the next drain.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

import trio

from twinfs.errors import LegError, UsageError
from twinfs.mirror import label, places, recovery
from twinfs.mirror.exclude import Excludes
from twinfs.mirror.legs import other, path_of
from twinfs.mirror.progress import OnProgress
from twinfs.mirror.secondary import Secondary
from twinfs.mirror.survey import survey
from twinfs.mirror.unreached import paths_of
from twinfs.model import Action, LegState, Order, Role, Survey, VolumeConfig
from twinfs.words import count, some_of

if TYPE_CHECKING:
    from twinfs.mirror.volume import Volume

_PROOFS: Final = 3
_BUSY_PAUSES_SECONDS: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 4.0)
_EXAMPLES: Final = 20

SavePlace = Callable[[Role, str], None]
"""Writes a place's new path into the volume's settings."""


async def look(volume: Volume, order: Order) -> Survey:
    """What the order would do; changes nothing."""
    await _check_all(volume, order)
    core = volume.core
    if order.action is Action.REPLACE:
        return await trio.to_thread.run_sync(_look_at_new, order, core.primary_fd, core.excludes)
    if core.is_secondary_up:
        return await core.attachment.call(
            partial(survey, core.primary_fd, core.applier.root_fd, core.excludes)
        )
    # What the leg has that is away is known from the log only.
    pending = volume.pending()
    waiting = (
        f"waits: {path.decode(errors='replace') or '(everything is compared)'}" for path in paths_of(core)
    )
    return Survey(
        differing=pending.changes,
        bytes_to_copy=pending.bytes,
        examples=tuple(sorted(islice(waiting, _EXAMPLES))),
    )


async def perform(volume: Volume, order: Order, on_progress: OnProgress, save_place: SavePlace) -> str:
    """Do it; returns what to tell the user. LegError, UsageError: why it was not done, or not to the end."""
    role = await _check_all(volume, order)
    match order.action:
        case Action.RESYNC:
            if order.leg:
                await _prefer_what_runs(volume, role)
            await volume.sync(on_progress)
            return "the secondary is up to date"
        case Action.REBUILD:
            return await _rebuild(volume, on_progress)
        case Action.PROMOTE:
            await volume.sync(on_progress)
            await volume.roles.promote()
            return f"{volume.pair.primary.path} is the primary now"
        case Action.DETACH:
            return await _detach(volume, role, on_progress)
        case Action.ATTACH:
            return await _attach(volume, on_progress)
        case Action.REPLACE:
            return await _replace(volume, role, order, on_progress, save_place)


async def _check_all(volume: Volume, order: Order) -> Role:
    role = _check(volume, order)
    if order.action is Action.REPLACE:
        # In a thread: a path may lead into this very volume, whose answers are this thread's to give.
        await trio.to_thread.run_sync(_check_new_place, volume, role, order)
    return role


def _check(volume: Volume, order: Order) -> Role:
    """The role of the leg that the order is about; the secondary where it names none."""
    role = role_of(volume, order.leg) if order.leg else Role.SECONDARY
    if order.action is Action.PROMOTE and role is Role.PRIMARY:
        raise UsageError(f"{volume.pair.primary.path} is the primary already")
    if order.action is Action.ATTACH and not volume.pair.secondary.is_detached:
        raise UsageError(f"volume {volume.config.name}: no leg is detached")
    if order.action is Action.DETACH and volume.pair.secondary.is_detached:
        path, name = volume.pair.secondary.path, volume.config.name
        raise UsageError(f"{path} is detached already; when it is mounted again: twinfs attach {name}")
    return role


def role_of(volume: Volume, leg: str) -> Role:
    """From what a person calls a leg: its role now, or its path."""
    if leg in tuple(Role):
        return Role(leg)
    for role, path in (
        (Role.PRIMARY, volume.pair.primary.path),
        (Role.SECONDARY, volume.pair.secondary.path),
    ):
        if os.path.normpath(leg) == os.path.normpath(path):
            return role
    raise UsageError(
        f"{leg!r} is no leg of volume {volume.config.name}: primary, secondary, or the path of one"
    )


async def _prefer_what_runs(volume: Volume, role: Role) -> None:
    """The other leg came back after it had been used alone: it gives way, keeping what differs."""
    if role is Role.SECONDARY:
        raise UsageError(
            f"volume {volume.config.name} is in use with {volume.pair.primary.path}; to prefer the other leg,"
            f" unmount it first: twinfs umount {volume.config.name}"
        )
    core, secondary = volume.core, volume.pair.secondary
    if not core.is_secondary_up:
        core.compare_later(b"", core.distrusted_since_ns, is_keeping=True)
        await trio.to_thread.run_sync(label.give_way, volume.config, secondary.place)


async def _rebuild(volume: Volume, on_progress: OnProgress, copied: int = 0) -> str:
    """Compare everything, every byte of it, and copy what differs; then the same until nothing does.
    `copied`: files that a comparison just before has found to differ."""
    rebuilt = volume.rebuilt
    await volume.sync(on_progress)
    for _ in range(_PROOFS):
        rebuilt.clear()
        volume.core.compare_later(b"", 1)
        await volume.sync(on_progress)
        copied += rebuilt.differing
        if not rebuilt.differing:
            files = rebuilt.files
            await _look_at_busy_again(volume, on_progress)
            return (
                f"{count(copied, 'file')} differed, copied anew; then {count(files, 'object')} compared,"
                " every byte of them: both legs are equal"
            )
    differing = f"{count(rebuilt.differing, 'file')}: {some_of(rebuilt.names, rebuilt.differing)}"
    raise LegError(
        f"the legs still differed when all had been copied {_PROOFS} times, in {differing}.\n"
        "  The disk does not keep what it is given: look at it with smartctl; to compare once more:"
        f" twinfs rebuild {volume.config.name}"
    )


async def _look_at_busy_again(volume: Volume, on_progress: OnProgress) -> None:
    """What was written to just when it was compared, until it is seen equal."""
    core, rebuilt = volume.core, volume.rebuilt
    for pause_seconds in _BUSY_PAUSES_SECONDS:
        if not rebuilt.busy:
            return
        busy = rebuilt.busy
        rebuilt.clear()
        await trio.sleep(pause_seconds)
        # First what is pending: it would differ for that alone.
        await volume.sync(on_progress)
        for ident, path in busy.items():
            node = core.nodes.get(ident)
            core.compare_later((node and core.mirrored_path(node)) or path, 1)
        await volume.sync(on_progress)
    if rebuilt.busy:
        raise LegError(
            f"all is equal but {count(len(rebuilt.busy), 'file')} written to at every look:"
            f" {some_of(list(rebuilt.busy.values()))}.\n"
            f"  What changes there is in the intent log: twinfs sync {volume.config.name}\n"
            f"  To prove it equal, when it is left alone: twinfs rebuild {volume.config.name}"
        )


async def _detach(volume: Volume, role: Role, on_progress: OnProgress) -> str:
    if volume.core.is_secondary_up:
        await volume.sync(on_progress)
    if role is Role.PRIMARY:
        await volume.roles.promote()
    secondary = volume.pair.secondary
    await secondary.detach(volume.core, volume.pair.primary)
    volume.tell("secondary_detached", f"{secondary.path} is detached; changes wait in the intent log")
    return (
        f"{secondary.path} is detached: unmount the disk and take it away. When it is back:"
        f" twinfs attach {volume.config.name}"
    )


async def _attach(volume: Volume, on_progress: OnProgress) -> str:
    secondary = volume.pair.secondary
    secondary.is_detached = False
    if not await volume.upkeep.look_for_secondary():
        secondary.is_detached = True
        is_there = secondary.state is LegState.FAULTY
        next_step = "look after its disk, and attach it again" if is_there else "mount the disk there"
        said = f"secondary leg: {secondary.path} is {secondary.state}; {next_step}"
        raise LegError(secondary.problem or said)
    await trio.to_thread.run_sync(volume.pair.primary.say_detached, False)
    await volume.sync(on_progress)
    return f"{secondary.path} is back and has what it had missed"


def _check_new_place(volume: Volume, role: Role, order: Order) -> None:
    pair, path = volume.pair, order.path
    if not os.path.isabs(path):
        raise UsageError(f"{path!r} is not an absolute path")
    places.check_free(path, volume.config.volume_id, adopt=order.is_adopting)
    staying = pair.primary if role is Role.SECONDARY else pair.secondary
    # A leg that is away, or under the volume's own mount, is still not a place for another; but the files
    # that are adopted may be those of the one that leaves, without their label.
    is_back = order.is_adopting and os.path.realpath(path) == os.path.realpath(pair.secondary.path)
    for leg in (pair.primary.path, pair.secondary.path):
        if not (is_back and staying is pair.primary and leg == pair.secondary.path):
            label.check_apart(leg, path)
    if staying.fd >= 0 and not order.is_forced:
        places.check_other_disk(path, staying.fd, staying.path)


def _look_at_new(order: Order, primary_fd: int, excludes: Excludes) -> Survey:
    if not order.is_adopting:
        return survey(primary_fd, -1, excludes)
    fd = os.open(order.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return survey(primary_fd, fd, excludes)
    finally:
        os.close(fd)


async def _replace(
    volume: Volume, role: Role, order: Order, on_progress: OnProgress, save_place: SavePlace
) -> str:
    """Order: "compare everything" is in the log, the new disk has its label, the settings name it. A kill
    in between leaves the old disk named, or the new one with everything still to do."""
    if volume.is_replacing:
        raise LegError(f"volume {volume.config.name}: a leg is being replaced already")
    volume.is_replacing = True
    try:
        return await _replace_by(volume, role, order, on_progress, save_place)
    finally:
        volume.is_replacing = False


async def _replace_by(
    volume: Volume, role: Role, order: Order, on_progress: OnProgress, save_place: SavePlace
) -> str:
    path = order.path
    if role is Role.PRIMARY:
        await volume.sync(on_progress)
        await volume.roles.promote()
    core, pair = volume.core, volume.pair
    place = pair.secondary.place
    # Or whoever looks for a secondary that is away takes the old disk back meanwhile.
    async with volume.drain_lock:
        if order.is_adopting:
            core.secondary_adopted()
            core.log.start(recovery.records_of(core), core.log.last_number, core.durable_ns)
        else:
            core.secondary_replaced()
        # The old disk's descriptor is given away; should what follows fail, it is opened anew.
        pair.secondary.parted(pair.primary)
        write = partial(label.write_new, path, pair.config, place, has_files=order.is_adopting)
        await trio.to_thread.run_sync(write)
        save_place(place, path)
        pair.config = _with_place(pair.config, place, path)
        pair.secondary = Secondary(pair.config, place, None)
    await trio.to_thread.run_sync(volume.pair.primary.say_detached, False)
    volume.tell("replaced", f"{path} takes the place of the {place} leg")
    volume.rebuilt.clear()
    await volume.sync(on_progress)
    # To a new disk everything was copied; of one with files it is news what had to be.
    copied = volume.rebuilt.differing if order.is_adopting else 0
    proven = await _rebuild(volume, on_progress, copied)
    if order.is_adopting:
        aside = f"what differed is in its quarantine (twinfs quarantine {pair.config.name})"
        return f"{path} is adopted; {aside}; {proven}"
    return proven


def _with_place(config: VolumeConfig, place: Role, path: str) -> VolumeConfig:
    return replace(config, primary=path) if place is Role.PRIMARY else replace(config, secondary=path)


def prefer(config: VolumeConfig, leg: str) -> str:
    """End a split brain: both legs are there, the volume is not mounted. Returns what to tell the user.

    The other's label gives way; what differs on it goes to quarantine at the next drain. Order: first
    the preferred one's label says that no intent log is about its last use, so that everything is
    compared; a kill after that leaves the legs as they were.
    """
    place = place_of(config, leg)
    label.prefer(config, place)
    return (
        f"{path_of(config, place)} counts; what differs on {path_of(config, other(place))} goes to quarantine"
    )


def place_of(config: VolumeConfig, leg: str) -> Role:
    if leg in tuple(Role):
        return Role(leg)
    for place in Role:
        if os.path.normpath(leg) == os.path.normpath(path_of(config, place)):
            return place
    raise UsageError(f"{leg!r} is no leg of volume {config.name}: primary, secondary, or the path of one")
