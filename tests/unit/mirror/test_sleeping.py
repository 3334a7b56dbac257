"""A secondary that may sleep is asked nothing between batches."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from twinfs.mirror import reads, upkeep
from twinfs.mirror.attachment import Attachment
from twinfs.mirror.lane import Lane
from twinfs.model import Mode, ReadPolicy
from unit.mirror.kit import Ground, User, new_ground, running


def ground_in(base: Path, mode: Mode, *, sleeps: bool) -> Ground:
    ground = new_ground(base, mode)
    config = replace(ground.config, secondary_sleeps=sleeps, read_policy=ReadPolicy.STRIPE)
    return Ground(ground.base, config)


@asynccontextmanager
async def counted(user: User, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[object]]:
    """What was asked of the secondary's threads."""
    asked: list[object] = []
    attachment = user.volume.core.attachment

    def note(kind: type, name: str) -> None:
        original = getattr(kind, name)

        def start(self: Any, call: Any, **more: Any) -> Any:
            if self in (attachment, attachment.lane, attachment.data):
                asked.append(call)
            return original(self, call, **more)

        monkeypatch.setattr(kind, name, start)

    with monkeypatch.context() as patch:
        monkeypatch = patch
        note(Attachment, "start")
        note(Lane, "start")
        patch.setattr(upkeep, "RETRY_SECONDS", 0.01)
        patch.setattr(reads, "is_cached", lambda fd, offset, size: False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(user.volume.run)
            yield asked
            await trio.sleep(0.2)
            nursery.cancel_scope.cancel()


async def use(user: User) -> None:
    volume = user.volume
    node = await user.create("new")
    await volume.content.write(node, 0, b"new" * 1000)
    await volume.content.fsync(node, is_data_only=False)
    assert bytes(await volume.content.read(node, 0, 3)) == b"new"
    volume.content.release(node)
    assert await user.read("old") == b"old"
    await user.truncate("old", 2)
    await user.rename("old", "older")
    await user.unlink("new")
    await user.mkdir("d")
    await volume.attributes.fsync_directory(user.lookup("d"))
    assert (await volume.attributes.space()).f_blocks
    await volume.refresh()
    assert volume.status(pid=None, mountpoint=None).legs[1].total_bytes


async def test_in_use_nothing_is_asked_of_it_and_a_batch_brings_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = ground_in(tmp_path, Mode.BATCHED, sleeps=True)
    async with running(ground) as user:
        await user.put("old", b"old")
        await user.volume.sync()
        async with counted(user, monkeypatch) as asked:
            await use(user)
            await trio.sleep(0.2)  # twenty times what comes between two looks
            assert asked == []
            assert os.listdir(ground.secondary) != os.listdir(ground.primary)
        await user.volume.sync()
        ground.assert_equal()


@pytest.mark.parametrize(("mode", "sleeps"), ((Mode.BATCHED, False), (Mode.SYNC, True)))
async def test_otherwise_it_is_looked_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode, sleeps: bool
) -> None:
    ground = ground_in(tmp_path, mode, sleeps=sleeps)
    async with running(ground) as user:
        await user.put("old", b"old")
        async with counted(user, monkeypatch) as asked:
            await use(user)
            asked.clear()
            with trio.fail_after(30):
                while not asked:  # noqa: ASYNC110 - a list, and a test
                    await trio.sleep(0.01)
