"""Versions stay on the disk that was the secondary then; the past goes on on the other one."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.tree import differences, snapshot
from twinfs.model import Action, Mode, Order
from unit.mirror.kit import KEEP_SECONDS, User, new_ground, running
from unit.mirror.versions.past_of import as_of
from unit.mirror.versions.test_past import settle


async def promote(user: User) -> None:
    await user.volume.recover(
        Order(Action.PROMOTE, "secondary"), False, lambda progress: None, lambda place, path: None
    )


@pytest.mark.parametrize("mode", list(Mode))
async def test_the_past_before_and_after_a_promotion_can_be_had(tmp_path: Path, mode: Mode) -> None:
    ground = new_ground(tmp_path, mode, keep=KEEP_SECONDS)
    moments = []
    async with running(ground) as user:
        for name in ("a", "b", "c"):
            await user.put(name, name.encode() * 100)
        for name in ("a", "b"):
            moments.append((await settle(user), snapshot(ground.primary)))
            await user.unlink(name)
            await user.volume.sync()
            await promote(user)
        moments.append((await settle(user), snapshot(ground.primary)))
        await user.rename("c", "d")
        await user.volume.sync()
        held = [list((leg / ".twinfs/versions").glob("*/0")) for leg in (ground.primary, ground.secondary)]
        assert [len(each) for each in held] == [1, 1]
        for number, (moment, before) in enumerate(moments):
            assert differences(before, as_of(ground, moment, tmp_path / f"out{number}")) == []
    ground.assert_equal()
