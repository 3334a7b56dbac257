"""After the legs have changed roles, either of them may have the only copy of what is excluded."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from twinfs.model import Mode
from unit.mirror.kit import Ground, new_ground, running


@pytest.mark.parametrize("mode", Mode)
async def test_what_is_moved_out_of_the_mirror_is_put_aside(tmp_path: Path, mode: Mode) -> None:
    ground = new_ground(tmp_path, mode, exclude=("cache/", "old/"))
    async with running(ground) as user:
        await user.mkdir("d")
        await user.mkdir("d/cache")
        await user.put("d/cache/x", b"only on the first disk")
        await user.volume.sync()
        await user.volume.roles.promote()
        user.forget_all()
        await user.rename("d", "old")
        await user.volume.sync()
        assert list((ground.primary / ".twinfs/quarantine").rglob("cache/x"))
        assert not (ground.primary / "d").exists()


@pytest.mark.parametrize("is_started_again", (False, True))
async def test_delete_excluded_deletes_nothing_any_more(tmp_path: Path, is_started_again: bool) -> None:
    made = new_ground(tmp_path, Mode.SYNC, exclude=("cache/",))
    ground = Ground(made.base, replace(made.config, delete_excluded=True))
    async with running(ground) as user:
        await user.volume.roles.promote()
        await user.mkdir("cache")
        await user.put("cache/x", b"only here")
        await user.volume.roles.promote()
        if not is_started_again:
            user.volume.core.compare_later(b"")
            await user.volume.sync()
    if is_started_again:
        async with running(ground) as user:
            user.volume.core.compare_later(b"")
            await user.volume.sync()
    assert (ground.secondary / "cache/x").read_bytes() == b"only here"


async def test_roles_change_many_times_without_closing_what_is_others(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        for number in range(12):
            bystander = os.open(tmp_path, os.O_RDONLY)
            await user.volume.roles.promote()
            await user.put(f"file{number}", b"content")
            await trio.sleep(0.01)
            os.fstat(bystander)
            os.close(bystander)
    ground.assert_equal()
