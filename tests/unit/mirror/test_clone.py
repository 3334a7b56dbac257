"""An older copy of a disk in the disk's place: same file system, same label but for the last use."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import trio

from support.machine import run
from twinfs.mirror.volume import Volume
from twinfs.model import Mode, Role
from unit.mirror.kit import Ground, new_ground, running


def copy_disk(ground: Ground, to: Path) -> None:
    run("cp", "-a", ground.secondary, to)


def put_copy_in(ground: Ground, copy: Path) -> None:
    shutil.rmtree(ground.secondary)
    copy.rename(ground.secondary)


async def test_an_older_copy_of_the_secondary_is_compared(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        await user.put("f", b"first")
    copy_disk(ground, tmp_path / "copy")
    async with running(ground) as user:
        await user.put("g", b"second")
        await user.write("f", 0, b"FIRST")
    put_copy_in(ground, tmp_path / "copy")
    async with running(ground):
        pass
    ground.assert_equal()


async def test_an_older_copy_that_is_put_in_while_in_use_is_compared(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        await user.put("f", b"first")
    copy_disk(ground, tmp_path / "copy")
    async with running(ground) as user:
        await user.put("g", b"second")
        await user.volume.sync()
        user.volume.core.secondary_failed(OSError(errno.EIO, "pulled"))
        put_copy_in(ground, tmp_path / "copy")
        await user.volume.sync()
        ground.assert_equal()


async def told_at_start(ground: Ground) -> list[str]:
    volume, told = ground.open(), []
    volume.on_event = lambda kind, message: told.append(kind)
    volume.tell_notes()
    await volume.close()
    return told


async def test_what_is_usual_is_not_taken_for_a_copy(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        await user.put("f", b"first")
    assert await told_at_start(ground) == []
    async with running(ground) as user:
        await user.volume.roles.promote()
        await user.put("g", b"second")
        user.volume.core.secondary_failed(OSError(errno.EIO, "pulled"))
        await user.put("h", b"third")
        await user.volume.sync()
        assert user.volume.pair.primary.place is Role.SECONDARY
    assert await told_at_start(ground) == []
    hidden = tmp_path / "hidden"
    ground.primary.rename(hidden)
    os.mkdir(ground.primary)
    volume = Volume.open(ground.config, ground.state, degraded=True)
    with trio.CancelScope(shield=True):
        ground.primary.rmdir()
        hidden.rename(ground.primary)
        await volume.sync()
        await volume.close()
    assert await told_at_start(ground) == []
    ground.assert_equal()
