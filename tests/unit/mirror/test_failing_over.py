"""A primary that dies: what its place is taken with, what is said of both disks, and what counts as lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from twinfs.mirror import label
from twinfs.mirror.volume import Volume
from twinfs.model import Mode, Role, VolumeState
from unit.mirror.kit import Ground, User, abandon, new_ground, running

DEAD = OSError(errno.EIO, "it does not answer")


@contextmanager
def dead_primary(volume: Volume) -> Iterator[None]:
    """Its label cannot be written."""
    dead, write = volume.pair.primary, label._write_label
    dead_device = os.fstat(dead.fd).st_ino

    def refuse_one(root_fd: int, *rest: Any) -> None:
        if os.fstat(root_fd).st_ino == dead_device:
            raise DEAD
        write(root_fd, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label, "_write_label", refuse_one)
        yield


async def fail_over(volume: Volume) -> None:
    era = volume.roles.era
    with dead_primary(volume):
        assert await volume.roles.primary_failed(era, DEAD)
    assert volume.roles.era == era + 1


async def follow_again(volume: Volume) -> None:
    """The old primary is back and has everything; the labels do not say so yet."""
    assert await volume.upkeep.look_for_secondary()
    await volume._drainer.drain()
    assert not volume.core.is_behind


async def taken_over_twice(ground: Ground) -> None:
    """By each from the other; then killed."""
    volume = ground.open()
    await volume.sync()
    await fail_over(volume)
    await follow_again(volume)
    await fail_over(volume)
    await User(volume).put("f", b"1")
    abandon(volume)


async def test_an_error_right_after_is_not_taken_for_the_new_primary_s(tmp_path: Path) -> None:
    """Who had a file open that went back gets one."""
    async with running(new_ground(tmp_path, Mode.BATCHED)) as user:
        volume = user.volume
        events: list[str] = []
        volume.on_event = lambda kind, message: events.append(kind)
        await fail_over(volume)
        assert not await volume.roles.primary_failed(volume.roles.era, DEAD)
        assert events == ["primary_failed", "promoted"]
        assert volume.status(pid=1, mountpoint="/mnt").state is VolumeState.DEGRADED


def _labels(ground: Ground) -> tuple[label.Label, label.Label]:
    first = label.read(Role.PRIMARY, ground.config.primary)
    second = label.read(Role.SECONDARY, ground.config.secondary)
    assert first is not None and second is not None
    return first, second


def _assert_both_are_known_equal(ground: Ground, primary: Role) -> None:
    ground.assert_equal()
    first, second = _labels(ground)
    assert (first.is_alone, second.is_alone) == (False, False)
    assert first.events == second.events
    assert (first.role is Role.PRIMARY) == (primary is Role.PRIMARY)
