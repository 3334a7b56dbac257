"""A write moves a file's mtime for a moment and puts it back: what others see then is not the file's."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from twinfs.fsio.syscalls import RENAME_EXCHANGE
from twinfs.mirror import content
from twinfs.mirror.applier import Applier
from twinfs.model import Mode
from unit.mirror.kit import Ground, User, new_ground, running

LARGE = bytes(1 << 17)
"""Written to the primary by a thread."""


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return new_ground(tmp_path, Mode.SYNC)


def mtimes(ground: Ground, name: str) -> tuple[int, int]:
    return (ground.primary / name).stat().st_mtime_ns, (ground.secondary / name).stat().st_mtime_ns


async def settle(user: User) -> None:
    await user.volume._drainer._settle(is_forced=True)


async def test_settling_does_not_take_them_over(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(ground) as user:
        node = await user.create("file")
        own = (ground.primary / "file").stat().st_mtime_ns
        inside, go_on, write_all = threading.Event(), threading.Event(), content._pwrite_all

        def write(fd: int, data: bytes, offset: int) -> int:
            written = write_all(fd, data, offset)
            if threading.current_thread().name == "primary-data":
                os.utime(fd, ns=(own + 10**9, own + 10**9))  # a clock that is surely another by now
                inside.set()
                go_on.wait(10)
            return written

        monkeypatch.setattr(content, "_pwrite_all", write)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(user.volume.content.write, node, 0, LARGE)
            while not inside.is_set():  # noqa: ASYNC110 - what a thread does
                await trio.sleep(0.001)
            await settle(user)
            assert mtimes(ground, "file") == (own + 10**9, own)
            go_on.set()
        assert mtimes(ground, "file") == (own, own)
        user.volume.content.release(node)
        await settle(user)
        assert not user.volume.core.applier.touched
        ground.assert_equal()


async def test_settling_looks_again_when_a_write_ended_meanwhile(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked while the write was on its way, and asks only when that is over."""
    async with running(ground) as user:
        node = await user.create("file")
        own = (ground.primary / "file").stat().st_mtime_ns
        fstat, primary, looked = os.fstat, os.stat(ground.primary / "file").st_ino, []

        def look(fd: int) -> os.stat_result:
            status = fstat(fd)
            if threading.current_thread().name == "secondary" and status.st_ino == primary and not looked:
                looked.append(fd)
                os.utime(ground.primary / "file", ns=(own + 10**9, own + 10**9))
                status = fstat(fd)
                os.utime(ground.primary / "file", ns=(own, own))
                user.volume.core.writes_ended += 1
            return status

        monkeypatch.setattr(os, "fstat", look)
        await settle(user)
        monkeypatch.undo()
        assert looked
        assert mtimes(ground, "file") == (own, own)
        user.volume.content.release(node)


async def test_settling_does_not_give_a_file_the_times_of_another_that_has_its_name_by_now(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The primary has exchanged two names, and the secondary, in its lane, is about to."""
    async with running(ground) as user:
        for name, seconds in (("one", 1), ("two", 2)):
            await user.put(name, name.encode())
            os.utime(ground.primary / name, ns=(seconds * 10**9,) * 2)
            os.utime(ground.secondary / name, ns=(seconds * 10**9,) * 2)
        user.volume.core.applier.touched.clear()
        exchanged, plain = threading.Event(), Applier.copy_times

        def wait_first(applier: Applier, *args: object) -> OSError | None:
            exchanged.wait(10)
            return plain(applier, *args)  # type: ignore[arg-type]

        monkeypatch.setattr(Applier, "copy_times", wait_first)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(settle, user)
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.start_soon(user.rename, "one", "two", RENAME_EXCHANGE)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert (ground.primary / "two").read_bytes() == b"one"
            exchanged.set()
        assert mtimes(ground, "one") == (2 * 10**9, 2 * 10**9)
        assert mtimes(ground, "two") == (10**9, 10**9)
