"""A change of metadata that waits for a comparison elsewhere keeps its mark: nothing may call it done."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinfs.model import Mode
from unit.mirror.kit import new_ground, running


async def test_a_drain_that_ends_meanwhile_does_not_clear_what_the_secondary_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    async with running(ground) as user:
        await user.put("f", b"content")
        await user.volume.sync()
        core, drainer = user.volume.core, user.volume._drainer

        async def end_of_a_drain() -> None:
            await drainer._settle(is_forced=True)

        monkeypatch.setattr(core, "wait_for_comparison", end_of_a_drain)
        await user.set_xattr("f", b"user.origin", b"here")
        ground.assert_equal()
