"""A rebuild, or a copy to a new disk, while people work."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from twinfs.errors import LegError
from twinfs.mirror import rescue
from twinfs.mirror.volume import Volume
from twinfs.model import Action, Mode, Order
from unit.mirror.kit import Ground, User, abandon, new_ground, running

REBUILD = Order(Action.REBUILD)


def before_each_sync(volume: Volume, work: Callable[[int], Awaitable[object]]) -> None:
    """`work` is told how many there were before."""
    sync, calls = volume.sync, iter(range(1000))

    async def sync_and_work(*arguments: Any) -> None:
        await work(next(calls))
        await sync(*arguments)

    volume.sync = sync_and_work  # type: ignore[method-assign]


async def rebuild(volume: Volume) -> object:
    return await volume.recover(REBUILD, False, lambda progress: None, lambda role, path: None)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescue, "_BUSY_PAUSES_SECONDS", (0.0,) * 4)


async def test_what_is_written_to_during_a_rebuild_is_looked_at_again(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        for name in ("busy", "moved", "quiet"):
            await user.put(name, bytes(1000))

        async def move_once(turn: int) -> None:
            if turn < 3:
                await user.write("moved", 0, os.urandom(10))
            if turn == 3:
                await user.rename("moved", "elsewhere")
            if turn < 6:
                await user.write("busy", 0, os.urandom(10))

        before_each_sync(user.volume, move_once)
        assert "0 files differed" in str(await rebuild(user.volume))
        assert await user.read("quiet") == bytes(1000)
    ground.assert_equal()


async def test_what_is_written_to_all_the_while_is_named_with_what_to_do(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        names = [f"busy{number}" for number in range(8)]
        for name in names:
            await user.put(name, bytes(1000))

        async def work(turn: int) -> None:
            for name in names:
                await user.write(name, 0, os.urandom(10))

        before_each_sync(user.volume, work)
        with pytest.raises(LegError) as refusal:
            await rebuild(user.volume)
        assert "all is equal but 8 files written to at every look: busy" in str(refusal.value)
        assert "and 3 more" in str(refusal.value)
        assert "twinfs sync pair" in str(refusal.value)
    ground.assert_equal()


async def test_a_disk_that_keeps_nothing_is_told_from_that(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        await user.put("rotten", bytes(1000))
        await user.volume.sync()

        async def rot(turn: int) -> None:
            path = ground.secondary / "rotten"
            status = path.stat()
            path.write_bytes(b"x" * 1000)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

        before_each_sync(user.volume, rot)
        with pytest.raises(LegError, match=r"3 times, in 1 file: rotten.\n  The disk does not keep"):
            await rebuild(user.volume)
        del user.volume.sync
        await rebuild(user.volume)
    ground.assert_equal()


async def test_what_is_moved_to_where_a_new_disk_has_no_folder_yet_is_not_left_behind(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.BATCHED)
    async with running(ground) as user:
        for folder in ("from", "to", "to/deep"):
            await user.mkdir(folder)
        await user.put("from/f", b"1")
        await user.mkdir("from/tree")
        await user.put("from/tree/g", b"2")
        await user.volume.sync()
        # As a new disk that has been copied in part.
        shutil.rmtree(ground.secondary / "to")
        user.volume.core.applier.forget(b"to")
        user.volume.core.compare_later(b"")
        await user.rename("from/f", "to/deep/f")
        await user.rename("from/tree", "to/tree")
        inode = (ground.secondary / "from/tree/g").stat().st_ino
        await user.volume.sync()
        ground.assert_equal()
        assert (ground.secondary / "to/tree/g").stat().st_ino == inode, "copied once more"
        assert not os.listdir(ground.secondary / ".twinfs/quarantine")


async def test_what_a_killed_copy_to_a_new_disk_left_half_made_is_nobodys_only_copy(tmp_path: Path) -> None:
    """The primary is replaced: its successor's log is of a role change, which makes the next start keep
    whatever differs on the other leg. On a new disk that can only be a beginning."""
    ground = new_ground(tmp_path, Mode.SYNC)
    new = tmp_path / "new"
    new.mkdir()
    volume = ground.open()
    user = User(volume)
    await volume.sync()
    for name in ("one", "two"):
        await user.put(name, name.encode() * 1000)
    user.forget_all()

    async def be_killed(turn: int) -> None:
        if turn == 1:
            assert await volume.upkeep.look_for_secondary()
            (new / "one").touch()
            raise KilledError

    before_each_sync(volume, be_killed)
    order = Order(Action.REPLACE, "primary", str(new), is_forced=True)
    with pytest.raises(KilledError):
        await volume.recover(order, False, lambda progress: None, lambda role, path: None)
    abandon(volume)
    replaced = Ground(tmp_path, replace(ground.config, primary=str(new)))
    async with running(replaced):
        assert volume.pair.primary.path == str(ground.secondary)
    assert os.listdir(new / ".twinfs/quarantine") == []
    replaced.assert_equal()


class KilledError(Exception):
    """In a test."""
