"""Somebody removes, moves or replaces directories of the secondary while the volume is in use. That is not
to be done; done all the same, a comparison comes to an end, and the legs are equal after it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from twinfs.model import Mode
from unit.mirror.kit import Ground, User, new_ground, running


def remove(top: Path) -> None:
    shutil.rmtree(top / "d")


def replace(top: Path) -> None:
    shutil.rmtree(top / "d")
    (top / "d/e").mkdir(parents=True)


def move_away(top: Path) -> None:
    (top / "d").rename(top / "elsewhere")


def swap(top: Path) -> None:
    (top / "d").rename(top / "elsewhere")
    (top / "d/e").mkdir(parents=True)
    (top / "d/e/old").write_text("another")


def put_a_file_there(top: Path) -> None:
    shutil.rmtree(top / "d")
    (top / "d").write_text("a file")


WAYS = (remove, replace, move_away, swap, put_a_file_there)


@pytest.fixture(params=Mode, ids=str)
def ground(tmp_path: Path, request: pytest.FixtureRequest) -> Ground:
    return new_ground(tmp_path, request.param)


async def furnish(user: User) -> None:
    """And have the secondary's directories known, as they are in use."""
    await user.mkdir("d")
    await user.mkdir("d/e")
    for name in ("d/one", "d/e/old", "beside"):
        await user.put(name, name.encode() * 100)
    await user.volume.sync()
    assert user.volume.core.applier._directories.keys() >= {b"d", b"d/e"}


async def sync(user: User) -> None:
    with trio.move_on_after(20) as scope:
        await user.volume.sync()
    assert not scope.cancelled_caught, "it goes round and round"


@pytest.mark.parametrize("way", WAYS)
async def test_a_change_below_it_ends_with_equal_legs(ground: Ground, way: Callable[[Path], None]) -> None:
    async with running(ground) as user:
        await furnish(user)
        way(ground.secondary)
        with trio.move_on_after(20) as scope:
            await user.put("d/e/new", b"new")
            await user.unlink("d/e/old")
            await user.rename("d/one", "d/two")
        assert not scope.cancelled_caught, "nobody is answered"
        await sync(user)
        user.volume.core.compare_later(b"", 1)
        await sync(user)
        assert ground.differences() == []
        user.forget_all()


@pytest.mark.parametrize("way", WAYS)
async def test_a_comparison_does_not_work_on_what_is_there_no_more(
    ground: Ground, way: Callable[[Path], None]
) -> None:
    async with running(ground) as user:
        await furnish(user)
        way(ground.secondary)
        user.volume.core.compare_later(b"")
        await sync(user)
        assert ground.differences() == []
        assert (ground.secondary / "d/e/old").read_bytes() == b"d/e/old" * 100
        user.forget_all()


@pytest.mark.parametrize("way", WAYS)
async def test_so_does_one_of_a_single_path(ground: Ground, way: Callable[[Path], None]) -> None:
    async with running(ground) as user:
        await furnish(user)
        way(ground.secondary)
        for path in (b"d/e/old", b"d/one"):
            user.volume.core.compare_later(path, 1)
        await sync(user)
        for name in ("d/e/old", "d/one"):
            assert (ground.secondary / name).read_bytes() == name.encode() * 100
        assert os.path.samefile(ground.secondary / "d", ground.secondary / "d/e/..")
        user.forget_all()
