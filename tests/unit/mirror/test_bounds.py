"""A secondary that is away for long costs what its bound allows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from twinfs.mirror import upkeep
from twinfs.mirror.volume import Volume
from twinfs.model import Mode
from unit.mirror.kit import Ground, User, new_ground, running


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "RETRY_SECONDS", 0.05)


@pytest.mark.parametrize("mode", Mode)
async def test_past_its_bound_the_log_becomes_compare_everything(
    tmp_path: Path, impatient: None, mode: Mode
) -> None:
    made = new_ground(tmp_path, mode)
    ground = Ground(made.base, replace(made.config, log_limit=50))
    async with running(ground) as user:
        for number in range(20):
            await user.put(f"before{number}", b"before")
    hidden = tmp_path / "hidden"
    ground.secondary.rename(hidden)
    ground.secondary.mkdir()
    volume = Volume.open(ground.config, ground.state, degraded=True)
    user = User(volume)
    events: list[str] = []
    volume.on_event = lambda kind, message: events.append(kind)
    async with trio.open_nursery() as nursery:
        await nursery.start(volume.run)
        for number in range(80):
            await user.put(f"after{number}", b"after")
        with trio.fail_after(5):
            while "log_full" not in events:  # noqa: ASYNC110 - a test
                await trio.sleep(0.01)
        core = volume.core
        size = core.log.size_bytes
        for number in range(200):
            await user.put(f"flat{number}", b"flat")
        await user.write("before3", 0, b"BEFORE")
        assert (len(core.pending), len(core.stale), len(core.compares)) == (0, 0, 1)
        assert core.log.size_bytes == size
        ground.secondary.rmdir()
        hidden.rename(ground.secondary)
        with trio.fail_after(20):
            while "secondary_back" not in events:  # noqa: ASYNC110 - a test
                await trio.sleep(0.01)
        await user.put("at last", b"counted again")
        await volume.sync()
        nursery.cancel_scope.cancel()
    await volume.close()
    ground.assert_equal()
