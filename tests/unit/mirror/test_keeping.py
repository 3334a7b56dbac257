"""What differs on the leg that gives way may be somebody's only copy, though size and times say nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twinfs.mirror import copier, rescue
from twinfs.model import Mode
from unit.mirror.kit import Ground, new_ground, running

OLD_NS = 10**18


def put_quietly(leg: Path, data: bytes) -> None:
    """As a container that is written with its mtime kept."""
    (leg / "container").write_bytes(data)
    os.utime(leg / "container", ns=(OLD_NS, OLD_NS))


async def make_quiet_difference(ground: Ground) -> None:
    (ground.primary / "container").write_bytes(b"the same on both")
    os.utime(ground.primary / "container", ns=(OLD_NS, OLD_NS))
    async with running(ground) as user:
        await user.put("other", b"1")
    put_quietly(ground.secondary, b"ONLY WRITTEN ONE")


@pytest.mark.parametrize("is_large", (False, True))
async def test_content_that_differs_alone_is_kept_when_a_leg_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    if is_large:
        monkeypatch.setattr(copier, "REPLACE_BYTES", 10)
    ground = new_ground(tmp_path, Mode.SYNC)
    await make_quiet_difference(ground)
    rescue.prefer(ground.config, "primary")
    async with running(ground) as user:
        assert await user.read("container") == b"the same on both"
    ground.assert_equal()
    kept = [path.read_bytes() for path in (ground.secondary / ".twinfs/quarantine").rglob("container")]
    assert kept == [b"ONLY WRITTEN ONE"]


async def test_what_is_equal_is_not_kept_twice(tmp_path: Path) -> None:
    ground = new_ground(tmp_path, Mode.SYNC)
    await make_quiet_difference(ground)
    put_quietly(ground.secondary, b"the same on both")
    rescue.prefer(ground.config, "primary")
    async with running(ground):
        pass
    ground.assert_equal()
    assert not list((ground.secondary / ".twinfs/quarantine").rglob("container"))
