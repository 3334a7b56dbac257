"""The mtime belongs to the kernel: what it sets stays, whatever is being written at the time."""

from __future__ import annotations

import os
import stat
import time

import pytest
import trio

from twinfs.mirror import content
from twinfs.mirror.attributes import Wanted
from unit.mirror.kit import Ground, running


async def test_a_time_that_is_set_while_a_large_write_is_on_its_way_stays(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = content._pwrite_all

    def slow(fd: int, data: bytes, offset: int) -> int:
        time.sleep(0.1)
        return plain(fd, data, offset)

    async with running(ground) as user:
        node = await user.put("file", b"x")
        await user.volume.content.open(node, os.O_WRONLY)
        monkeypatch.setattr(content, "_pwrite_all", slow)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(user.volume.content.write, node, 0, bytes(200_000))
            await trio.sleep(0.03)
            await user.change("file", Wanted(mtime_ns=10**18))
        assert (ground.primary / "file").stat().st_mtime_ns == 10**18
        user.volume.content.release(node)
    ground.assert_equal()


async def test_what_is_left_under_a_second_name_only_has_its_times(ground: Ground) -> None:
    async with running(ground) as user:
        await user.symlink("first", b"target")
        await user.make("pipe", stat.S_IFIFO | 0o644)
        await trio.sleep(0.02)
        for name in ("first", "pipe"):
            await user.link(name, f"second {name}")
            await user.unlink(name)
            await user.rename(f"second {name}", f"third {name}")
        await user.volume.sync()
        ground.assert_equal()
